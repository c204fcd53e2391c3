"""The app in a real browser: a server of its own, and words for what a visitor does."""

import base64
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
PATIENCE = 300_000  # ms; a machine that trains beside the tests is slow


@contextmanager
def serving(log: Path, script: Path = ROOT / "app" / "main.py", home: Path = ROOT) -> Iterator[str]:
    """Runs the app, or another script, on a free port until the block ends; gives its address.

    Args:
        log: what the server says.
        script: what it runs.
        home: the checkout whose packages it imports.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    options = {"port": port, "address": "127.0.0.1", "headless": "true", "fileWatcherType": "none"}
    command += [f"--server.{name}={value}" for name, value in options.items()]
    with running(command, log, port, home) as address:
        yield address


@contextmanager
def running(command: list[str], log: Path, port: int, home: Path = ROOT) -> Iterator[str]:
    """Runs a server until the block ends; gives its address."""
    place = {"cwd": home, "env": os.environ | {"PYTHONPATH": str(home)}}
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, **place) as app:
        try:
            yield _wait_until_up(f"http://127.0.0.1:{port}")
        finally:
            app.terminate()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_until_up(address: str) -> str:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return address
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"The app did not come up at {address}.")


def open_page(page: Page, address: str) -> None:
    """Goes there and waits for the first decoded frames."""
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    wait_for_answer(page)


def wait_for_answer(page: Page) -> None:
    """Until the panels show the answer to the painter's mask."""
    page.wait_for_selector('.panels[data-answer="shown"]')


def drag(page: Page, selector: str, *points: tuple[float, float]) -> None:
    """Presses at the first point and releases at the last; (x, y) in shares of the element."""
    canvas = page.locator(selector).first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def paint(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Drags over the clip from one (row, column) to another."""
    t, h, w = grid(page)
    points = [((column + 0.5) / w, (row + 0.5) / h) for row, column in (start, end)]
    drag(page, ".painter .ink", *points)


def grid(page: Page) -> tuple[int, int, int]:
    """Tokens along time, height and width."""
    return tuple(page.evaluate("vjepaStage.grid"))


def mask(page: Page) -> np.ndarray:
    """What is hidden in the browser: bool (t, h, w)."""
    return np.array(page.evaluate("Array.from(vjepaStage.mask)"), bool).reshape(grid(page))


def show(page: Page, frame: int) -> None:
    """Stops the clip at a frame."""
    page.evaluate("frame => { vjepaStage.play(false); vjepaStage.seek(frame); }", frame)


def pixels(page: Page, canvas: str) -> np.ndarray:
    """RGBA of a canvas as it is on screen, before the browser scales it."""
    url = page.locator(canvas).evaluate("canvas => canvas.toDataURL('image/png')")
    png = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


def panel(page: Page, name: str) -> np.ndarray:
    """RGBA of a panel: "sample-0" .., "original", "masked", "ceiling", "error"."""
    return pixels(page, f'[data-panel="{name}"] canvas')
