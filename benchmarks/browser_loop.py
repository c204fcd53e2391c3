"""What a visitor waits for, as multiples of an empty Streamlit page and of a checkbox's round trip.

    python benchmarks/browser_loop.py                    # this checkout
    python benchmarks/browser_loop.py --before ../old    # beside another checkout, in turns

A server for each checkout, and one for a page with a text and a checkbox, all in one browser. In
every round each of them is opened in a new profile: until its first paint, and until its first
answer is on screen. Then strokes are painted (until the preview, until the samples), patches are
clicked, the checkbox is ticked. Medians of times in turns; on a busy machine only the ratios mean
something. The models are in the servers' memory before the first round. Needs a browser, as the
tests do. The last line is JSON.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import tyro
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EMPTY, DECODING = "empty page", "mask-and-decode"
PAGES = (DECODING, "embeddings", "similarity", "surprise", "probes", "evaluation")
SCRIPT = """
import streamlit as st

@st.fragment
def probe():
    st.text(f"ticked {st.checkbox('probe')}")

probe()
"""
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
        for title, home in checkouts.items():
            serving = browser.serving(folder / f"{title}.txt", home / "app" / "main.py", home)
            sites[title] = stack.enter_context(serving)
            visit(window, f"{sites[title]}/embeddings", "embeddings")  # the model is loaded
        times = measure(window, sites, rounds)
    print(json.dumps(report(times)))


def launch(playwright) -> Browser:
    """The system's Chromium or Chrome, else Playwright's own."""
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


Times = dict[tuple[str, str, str], list[float]]
"""Milliseconds by site, page and what was waited for."""


def measure(window: Browser, sites: dict[str, str], rounds: int) -> Times:
    """Everything, in turns."""
    times: Times = defaultdict(list)
    for number in range(rounds):
        for site, address in sites.items():
            for name in (EMPTY,) if site == EMPTY else PAGES:
                place = address if site == EMPTY else f"{address}/{name}"
                found = visit(window, place, name, number)
                for what, milliseconds in found.items():
                    times[site, name, what].append(milliseconds)
    return times


def visit(window: Browser, address: str, name: str, column: int | None = None) -> dict[str, float]:
    """Opens a page in a new profile and acts on it once; milliseconds of each wait.

    Args:
        window: the browser.
        address: of the page.
        name: what page it is.
        column: of the grid, where it is to be acted on.
    """
    page = window.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(browser.PATIENCE)
    page.goto(address)
    page.locator(SHOWN.get(name, VIEWS)).first.wait_for()
    found = {"open": page.evaluate("performance.now()"), "first paint": page.evaluate(PAINT)}
    if column is not None and name != "evaluation":
        page.wait_for_selector('.stApp[data-test-script-state="notRunning"]')
        page.wait_for_timeout(1000)  # until nothing runs
        page.evaluate(WATCH)
        page.wait_for_timeout(100)
        found |= act(page, name, column % 7)
    page.context.close()
    return found


def act(page: Page, name: str, column: int) -> dict[str, float]:
    """What is done on a page: a tick, a stroke to a mask never asked for, a click on a patch."""
    if name == EMPTY:
        page.get_by_text("probe", exact=True).click()
        return {"tick": taken(page, "ticked")}
    if name == DECODING:
        browser.paint(page, (0, column), (0, column))
        return {"preview": taken(page, "preview"), "samples": taken(page, "answered")}
    h, w = browser.grid(page)[1:]
    browser.drag(page, "[data-view] .ink", ((column + 0.5) / w, 1 - 0.5 / h))
    return {"click": taken(page, "answered")}


def taken(page: Page, end: str) -> float:
    """Milliseconds from the last event to what it brought on screen."""
    page.wait_for_function("end => times[end] > times.began", arg=end)
    return page.evaluate("end => times[end] - times.began", end)


def report(times: Times) -> dict:
    """Medians: of the empty page in milliseconds, of all else as multiples of it."""
    medians = {key: statistics.median(found) for key, found in times.items()}
    floor = {what: medians[EMPTY, EMPTY, what] for what in ("first paint", "open", "tick")}
    result: dict = {EMPTY: {f"{what}, ms": round(ms, 1) for what, ms in floor.items()}}
    for (site, name, what), milliseconds in medians.items():
        if site != EMPTY:
            unit = floor.get(what, floor["tick"])
            pages = result.setdefault(site, {})
            pages.setdefault(name, {})[what] = round(milliseconds / unit, 2)
    return result


if __name__ == "__main__":
    tyro.cli(main)
