"""Pointer-up to new frames in a browser, as a multiple of a plain checkbox's round trip.

    python benchmarks/browser_loop.py

Both are timed in one page of one server: from the event in the browser to the changed screen. The
checkbox has a fragment of its own, so it waits for nothing but Streamlit. Needs a browser, as the
tests do; the last line is JSON.
"""

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROUNDS = 8
PAGE = """
import streamlit as st
from app import mask_and_decode, window

@st.fragment
def probe():
    st.text(f"ticked {st.checkbox('probe')}")

window.dress()
mask_and_decode.page()
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
    const text = () => document.querySelector(".stText").innerText;
    let last = text();
    watch(document.body, () => text() !== last && (last = text(), end("ticked")));
    const hosts = [...document.querySelectorAll("*")].map((element) => element.shadowRoot);
    const panels = hosts.find((root) => root?.querySelector(".panels")).querySelector(".panels");
    watch(panels, () => panels.dataset.answer === "shown" && end("answered"));
}"""


def main() -> None:
    """Times both in one session and prints the result."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        script = Path(folder) / "page.py"
        script.write_text(PAGE)
        with browser.serving(Path(folder) / "log.txt", script) as address:
            page = launch(playwright).new_page(viewport={"width": 1440, "height": 900})
            browser.open_page(page, address)
            browser.paint(page, (6, 0), (6, 0))  # the first stroke waits for the model to load
            settle(page)
            page.evaluate(WATCH)
            report(
                checkbox=[tick(page) for _ in range(ROUNDS)],
                stroke=[stroke(page, column) for column in range(browser.grid(page)[2])],
            )


def launch(playwright):
    """The system's Chromium or Chrome, else Playwright's own."""
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def settle(page: Page) -> None:
    """Until the answer to the last stroke is there and nothing runs."""
    browser.wait_for_answer(page)
    page.wait_for_timeout(1500)


def tick(page: Page) -> float:
    """Milliseconds from a tick of the checkbox to the text that it changes."""
    page.get_by_text("probe").click()
    return taken(page, "ticked")


def stroke(page: Page, column: int) -> float:
    """Milliseconds from pointer-up to decoded frames for a mask that was never asked for."""
    browser.paint(page, (0, column), (0, column))
    milliseconds = taken(page, "answered")
    settle(page)
    return milliseconds


def taken(page: Page, end: str) -> float:
    """From the last event to what it brought on screen."""
    page.wait_for_function("end => times[end] > times.began", arg=end)
    milliseconds = page.evaluate("end => times[end] - times.began", end)
    page.wait_for_timeout(300)
    return milliseconds


def report(checkbox: list[float], stroke: list[float]) -> None:
    """Prints medians and their ratio as one line of JSON."""
    floor, whole = statistics.median(checkbox), statistics.median(stroke)
    print(
        json.dumps(
            {
                "checkbox_ms": round(floor, 1),
                "pointer_up_to_frames_ms": round(whole, 1),
                "ratio": round(whole / floor, 2),
                "strokes": len(stroke),
            }
        )
    )


if __name__ == "__main__":
    main()
