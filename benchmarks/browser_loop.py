"""What a visitor waits for on each page, as multiples of a plain checkbox's round trip.

    python benchmarks/browser_loop.py

All is timed in one browser on one server, from the event in the browser to the changed screen: a
stroke on the painter, a click on a patch of a view, and the cold load of the page (a new browser
profile, the model already in the server's memory; the first load of all, which imports torch and
reads the model, stands apart). The checkbox has a fragment of its own, so it waits for nothing but
Streamlit. Needs a browser, as the tests do; the last line is JSON.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROUNDS = 7
DECODING = "mask_and_decode"
PAGES = (DECODING, "embeddings", "similarity", "surprise", "probes")
SCRIPT = """
from importlib import import_module
import streamlit as st
from app import window

@st.fragment
def probe():
    st.text(f"ticked {st.checkbox('probe')}")

window.dress("Checkbox", "The shortest way to the server and back.")
import_module(f"app.{st.query_params['page']}").page()
probe()
"""
WATCH = """() => {
    const times = window.times = {};
    const begin = () => {
        for (const name of ["answered", "ticked"]) delete times[name];
        times.began = performance.now();
    };
    addEventListener("pointerup", begin, true);
    const end = (name) => requestAnimationFrame(() => { times[name] ??= performance.now(); });
    const watch = (place, done) => new MutationObserver(done)
        .observe(place, { attributes: true, childList: true, characterData: true, subtree: true });
    const text = () => [...document.querySelectorAll(".stText")].at(-1).innerText;
    let last = text();
    watch(document.body, () => text() !== last && (last = text(), end("ticked")));
    const find = (selector) => [...document.querySelectorAll("*")]
        .map((element) => element.shadowRoot?.querySelector(selector)).find(Boolean);
    const panels = find(".panels");
    if (panels) watch(panels, () => panels.dataset.answer === "shown" && end("answered"));
    const look = () => { // views may be made anew, so that nothing can be watched
        const shown = find(".views")?.dataset.shown;
        if (shown && shown !== times.shown) { times.shown = shown; end("answered"); }
        requestAnimationFrame(look);
    };
    times.shown = find(".views")?.dataset.shown;
    look();
}"""


def main() -> None:
    """Times every page in one session and prints the result."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        script = Path(folder) / "page.py"
        script.write_text(SCRIPT)
        with browser.serving(Path(folder) / "log.txt", script) as address:
            window = launch(playwright)
            # the first answer ships with the app; the second waits for the model
            first = cold_load(window, address, PAGES[1])
            print(json.dumps(measure(window, address, first)))


def launch(playwright) -> Browser:
    """The system's Chromium or Chrome, else Playwright's own."""
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def measure(window: Browser, address: str, first: float) -> dict:
    """Medians of every page, and what they are in checkboxes."""
    checkbox, pages = [], {}
    for name in PAGES:
        load = cold_load(window, address, name)
        page = opened(window, address, name)
        page.wait_for_selector('.stApp[data-test-script-state="notRunning"]')
        page.wait_for_timeout(2000)
        page.evaluate(WATCH)
        checkbox += [tick(page) for _ in range(ROUNDS)]
        pages[name] = {"cold_load_ms": load, "stroke_ms": median(page, stroke)}
        if name != DECODING:
            pages[name]["click_ms"] = median(page, click)
        page.context.close()
    floor = statistics.median(checkbox)
    for times in pages.values():
        times |= {f"{k.removesuffix('_ms')}_ratio": round(v / floor, 2) for k, v in times.items()}
    return {"checkbox_ms": round(floor, 1), "first_load_ms": first, "pages": pages}


def median(page: Page, act: Callable[[Page, int], float]) -> float:
    """Of an act that is done at every column of the grid, so that no answer is known before."""
    return round(statistics.median(act(page, i) for i in range(browser.grid(page)[2])), 1)


def opened(window: Browser, address: str, name: str) -> Page:
    """The page in a new profile, with its first answer on screen."""
    page = window.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(browser.PATIENCE)
    page.goto(f"{address}/?page={name}")
    page.wait_for_selector(f"{SHOWN[name == DECODING]}")
    return page


SHOWN = {True: '.panels[data-answer="shown"]', False: ".views[data-shown]"}


def cold_load(window: Browser, address: str, name: str) -> float:
    """Milliseconds from the address to the first answer."""
    begin = time.perf_counter()
    opened(window, address, name).context.close()
    return round(1000 * (time.perf_counter() - begin), 1)


def tick(page: Page) -> float:
    """Milliseconds from a tick of the checkbox to the text that it changes."""
    page.get_by_text("probe", exact=True).click()
    return taken(page, "ticked")


def stroke(page: Page, column: int) -> float:
    """Milliseconds from pointer-up to the answer to a mask that was never asked for."""
    browser.paint(page, (0, column), (0, column))
    return taken(page, "answered")


def click(page: Page, column: int) -> float:
    """Milliseconds from a click on a patch to the views that know of it."""
    h, w = browser.grid(page)[1:]
    browser.drag(page, "[data-view] .ink", ((column + 0.5) / w, 1 - 0.5 / h))
    return taken(page, "answered")


def taken(page: Page, end: str) -> float:
    """From the last event to what it brought on screen."""
    page.wait_for_function("end => times[end] > times.began", arg=end)
    milliseconds = page.evaluate("end => times[end] - times.began", end)
    page.wait_for_timeout(1000)  # until nothing runs
    return milliseconds


if __name__ == "__main__":
    main()
