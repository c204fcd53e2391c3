"""What a visitor waits for, as multiples of an empty Streamlit page and of a checkbox's round trip.

    python benchmarks/browser_loop.py                    # this checkout
    python benchmarks/browser_loop.py --before ../old    # beside another checkout, in turns

A server for each checkout, and one for a page with a text and a checkbox, all in one browser. Each
page is opened once before anything is known of its clip but the model is loaded (cold; the first
page is opened before its model is loaded), and later gone to by its link, in a tab that was there
before (warm): both in seconds. In every round each page is opened in a new profile: until its first
paint, and until its first answer is on screen. Then strokes are painted (until the preview, until
the samples), patches are clicked, the checkbox is ticked. Medians of times in turns; on a busy
machine only the ratios mean something. Needs a browser, as the tests do. Prints tables; the last
line is JSON.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tyro
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EMPTY, DECODING = "empty page", ""  # the page at the root
TITLES = {
    DECODING: "Mask and decode",
    **{name: name.title() for name in ("embeddings", "similarity", "surprise", "probes")},
    "evaluation": "Evaluation",
}
PAGES = tuple(TITLES)
SCRIPT = """
import streamlit as st

@st.fragment
def probe():
    st.text(f"ticked {st.checkbox('probe')}")

probe()
"""
SCREEN = {"width": 1440, "height": 900}
IN_SECONDS = ("cold", "warm")
IN_MULTIPLES = ("first paint", "open", "preview", "samples", "click")
"""The first two of an empty page's, the others of a checkbox's round trip."""
SHOWN = {
    EMPTY: ".stText",
    DECODING: '.panels[data-answer="shown"]',
    "evaluation": ".js-plotly-plot .main-svg",
}
VIEWS = ".views[data-shown]"
WATCH = """() => {
    const times = window.times = {};
    const begin = () => {
        for (const name of ["preview", "answered", "ticked"]) delete times[name];
        times.began = performance.now();
    };
    addEventListener("pointerup", begin, true);
    const end = (name) => { times[name] ??= performance.now(); };
    const find = (selector) => [...document.querySelectorAll("*")]
        .map((element) => element.shadowRoot?.querySelector(selector)).find(Boolean);
    let text, shown, panels, views;
    const look = () => { // views may be made anew, so that nothing can be watched
        const now = [...document.querySelectorAll(".stText")].at(-1)?.innerText;
        if (now !== text) { text = now; end("ticked"); }
        if (!panels?.isConnected) panels = find(".panels");
        if (!views?.isConnected) views = find(".views");
        const phase = panels?.dataset.answer;
        if (phase === "preview" || phase === "shown") end("preview");
        if (phase === "shown") end("answered");
        if (views && views.dataset.shown !== shown) end("answered");
        shown = views?.dataset.shown;
        requestAnimationFrame(look);
    };
    look();
}"""
MARK_CLICK = """() => addEventListener(
    "click", () => { window.clicked = performance.now(); }, { capture: true, once: true })"""
SHOWS = """({ path, answer }) => {
    const app = document.querySelector(".stApp");
    const find = (selector) => [document, ...document.querySelectorAll("*")]
        .map((element) => (element.shadowRoot ?? element).querySelector?.(selector)).find(Boolean);
    return app.dataset.testScriptState === "notRunning" && location.pathname === path
        && !document.querySelector("[data-stale=true]") && find(answer);
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main(before: Path | None = None, rounds: int = 5) -> None:
    """Times every page and prints the result.

    Args:
        before: another checkout of this project, to be timed in turns with this one.
        rounds: how often everything is done.
    """
    checkouts = {"now": ROOT} | ({"before": before.resolve()} if before else {})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        script = folder / "empty.py"
        script.write_text(SCRIPT)
        window = launch(stack.enter_context(sync_playwright()))
        sites = {EMPTY: stack.enter_context(browser.serving(folder / "empty.txt", script))}
        times: Times = defaultdict(list)
        for title, home in checkouts.items():
            serving = browser.serving(folder / f"{title}.txt", home / "app" / "main.py", home)
            sites[title] = stack.enter_context(serving)
            open_cold(window, title, sites[title], times)
        measure(window, sites, rounds, times)
        for title in checkouts:
            go_around(window, title, sites[title], rounds, times)
    found = report(times)
    print(*tables(found), sep="\n\n")
    print(json.dumps(found))


def launch(playwright) -> Browser:
    """The system's Chromium or Chrome, else Playwright's own."""
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


Times = dict[tuple[str, str, str], list[float]]
"""Milliseconds by site, page and what was waited for."""


def open_cold(window: Browser, site: str, address: str, times: Times) -> None:
    """Every page of a server that has just come up, once."""
    print(f"cold: {site}", file=sys.stderr)
    for name in PAGES:
        act_on = 0 if name == DECODING else None  # a stroke waits for the model
        times[site, name, "cold"] = [visit(window, f"{address}/{name}", name, act_on)["open"]]


def measure(window: Browser, sites: dict[str, str], rounds: int, times: Times) -> None:
    """Everything, in turns."""
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        for site, address in sites.items():
            for name in (EMPTY,) if site == EMPTY else PAGES:
                place = address if site == EMPTY else f"{address}/{name}"
                for what, milliseconds in visit(window, place, name, number).items():
                    times[site, name, what].append(milliseconds)


def go_around(window: Browser, site: str, address: str, rounds: int, times: Times) -> None:
    """From page to page by their links, in one tab, after a first time around."""
    print(f"warm: {site}", file=sys.stderr)
    page = window.new_context(viewport=SCREEN).new_page()
    page.set_default_timeout(browser.PATIENCE)
    page.goto(address)
    page.locator(SHOWN[DECODING]).first.wait_for()
    for number in range(rounds + 1):
        for name in (*PAGES[1:], DECODING):
            page.wait_for_timeout(1000)  # until nothing runs
            page.evaluate(MARK_CLICK)
            page.get_by_role("link", name=TITLES[name]).first.click()
            shown = {"path": f"/{name}", "answer": SHOWN.get(name, VIEWS)}
            page.wait_for_function(SHOWS, arg=shown)
            if number:
                times[site, name, "warm"].append(page.evaluate("performance.now() - clicked"))
    page.context.close()


def visit(window: Browser, address: str, name: str, number: int | None = None) -> dict[str, float]:
    """Opens a page in a new profile and acts on it once; milliseconds of each wait.

    Args:
        window: the browser.
        address: of the page.
        name: what page it is.
        number: of the visit, where the page is to be acted on: each time elsewhere.
    """
    page = window.new_context(viewport=SCREEN).new_page()
    page.set_default_timeout(browser.PATIENCE)
    page.goto(address)
    page.locator(SHOWN.get(name, VIEWS)).first.wait_for()
    found = {"open": page.evaluate("performance.now()"), "first paint": page.evaluate(PAINT)}
    if number is not None and name != "evaluation":
        page.wait_for_selector('.stApp[data-test-script-state="notRunning"]')
        page.wait_for_timeout(1000)  # until nothing runs
        page.evaluate(WATCH)
        page.wait_for_timeout(100)
        found |= act(page, name, number)
    page.context.close()
    return found


def act(page: Page, name: str, number: int) -> dict[str, float]:
    """What is done on a page: a tick, a stroke to a mask never asked for, a click on a patch."""
    if name == EMPTY:
        page.get_by_text("probe", exact=True).click()
        return {"tick": taken(page, "ticked")}
    if name == DECODING:
        seen = np.argwhere(~browser.mask(page).all(axis=0))
        place = tuple(seen[number % len(seen)].tolist())
        browser.paint(page, place, place)
        return {"preview": taken(page, "preview"), "samples": taken(page, "answered")}
    h, w = browser.grid(page)[1:]
    browser.drag(page, "[data-view] .ink", ((number % w + 0.5) / w, 1 - 0.5 / h))
    return {"click": taken(page, "answered")}


def taken(page: Page, end: str) -> float:
    """Milliseconds from the last event to what it brought on screen."""
    page.wait_for_function("end => times[end] > times.began", arg=end)
    return page.evaluate("end => times[end] - times.began", end)


def report(times: Times) -> dict:
    """Medians: cold and warm in seconds, all else as multiples of the empty page's."""
    medians = {key: statistics.median(found) for key, found in times.items()}
    floor = {what: medians[EMPTY, EMPTY, what] for what in ("first paint", "open", "tick")}
    result: dict = {EMPTY: {f"{what}, ms": round(ms, 1) for what, ms in floor.items()}}
    units = floor | {f"{what}, s": 1000.0 for what in IN_SECONDS}
    for (site, name, what), milliseconds in medians.items():
        if site != EMPTY:
            title = f"{what}, s" if what in IN_SECONDS else what
            found = milliseconds / units.get(title, floor["tick"])
            result.setdefault(site, {}).setdefault(TITLES[name], {})[title] = round(found, 2)
    return result


def tables(found: dict) -> list[str]:
    """The report as Markdown: one table a checkout."""
    columns = [f"{what}, s" for what in IN_SECONDS] + list(IN_MULTIPLES)
    texts = [f"{EMPTY}: " + ", ".join(f"{what} {value}" for what, value in found[EMPTY].items())]
    for site, pages in found.items():
        if site != EMPTY:
            lines = [f"| {site} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
            for title, numbers in pages.items():
                cells = (str(numbers.get(column, "")) for column in columns)
                lines.append(f"| {title} | {' | '.join(cells)} |")
            texts.append("\n".join(lines))
    return texts


if __name__ == "__main__":
    tyro.cli(main)
