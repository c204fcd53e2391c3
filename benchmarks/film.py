"""Records the film of README.md from the real app: a mask is drawn, samples appear, they play.

    python benchmarks/film.py    # docs/film.webp

Run it anew after a change of weights or looks. The app runs on a server of its own; frames are
screenshots of it, with a pointer drawn where the mouse is. Needs a browser, as the tests do.
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402

from benchmarks.browser_loop import launch  # noqa: E402

SIZE = {"width": 1440, "height": 880}
WIDTH = 960
SEEN = 3
"""Time steps before the mask: what is behind it has to go on."""
FRAME_MS = 125
QUALITIES = range(70, 20, -15)
LARGEST = 640 * 1024
"""Bytes of the film."""
PATIENCE = 40
"""Seconds that samples are waited for; the film shows the first second of them."""
POINTER = """() => {
    const dot = document.createElement("div");
    dot.style.cssText = `position: fixed; z-index: 9999; width: 18px; height: 18px; margin: -9px;
        border-radius: 50%; background: rgb(0 0 0 / 45%); border: 2px solid white;
        pointer-events: none; left: 50%; top: 40%`;
    document.body.append(dot);
    addEventListener("pointermove", ({ clientX, clientY }) => {
        dot.style.left = `${clientX}px`;
        dot.style.top = `${clientY}px`;
    }, true);
}"""


@dataclass
class Camera:
    """Takes the frames.

    Attributes:
        page: what is filmed.
        frames: taken so far.
        shown: the clip's frame that the next picture shows.
    """

    page: Page
    frames: list[Image.Image] = field(default_factory=list)
    shown: int = 0

    def take(self, count: int = 1, *, playing: bool = True) -> None:
        """Some frames; the clip plays on by one in each, whatever a picture takes to be taken."""
        for _ in range(count):
            browser.show(self.page, self.shown)
            self.shown += playing
            picture = Image.open(io.BytesIO(self.page.screenshot(animations="disabled")))
            height = round(WIDTH * picture.height / picture.width)
            self.frames.append(picture.convert("RGB").resize((WIDTH, height), Image.LANCZOS))


def main(out: Path = ROOT / "docs" / "film.webp", clip: str = "two_collide") -> None:
    """Records the film.

    Args:
        out: an animated WebP.
        clip: one of the bundled clips.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        address = stack.enter_context(browser.serving(Path(folder) / "log.txt"))
        window = launch(stack.enter_context(sync_playwright()))
        page = window.new_page(viewport=SIZE, color_scheme="light")
        browser.open_page(page, f"{address}/mask-and-decode?clip=bundled-{clip}")
        page.locator('[data-act="clear"]').click()
        steps = browser.grid(page)[0]
        browser.drag(page, ".strip", ((SEEN + 0.5) / steps, 0.5), (1 - 0.5 / steps, 0.5))
        page.mouse.move(720, 60)
        page.get_by_text("The model is loading").wait_for(state="detached")
        page.wait_for_timeout(1000)
        page.evaluate(POINTER)
        camera = Camera(page)
        play(camera)
    size = write(out, camera.frames)
    print(f"{out}: {len(camera.frames)} frames, {size / 1024:.0f} KiB")


def play(camera: Camera) -> None:
    """The story: the clip, a stroke, what comes of it, and that it plays."""
    page = camera.page
    camera.take(12)
    page.locator('[data-tool="rectangle"]').click()
    camera.take(2)
    for place in stroke(page):
        page.mouse.move(*place)
        camera.take(playing=False)
    page.mouse.up()
    camera.take(2, playing=False)
    for _ in range(PATIENCE):
        if page.locator('.panels[data-answer="shown"]').count():
            break
        if len(camera.frames) < 40:
            camera.take(playing=False)
        page.wait_for_timeout(1000)
    browser.wait_for_answer(page)
    page.wait_for_timeout(500)
    page.mouse.move(720, 60)
    camera.take(32)


def stroke(page: Page) -> Iterator[tuple[float, float]]:
    """Places of the pointer on its way over the middle of the clip, pressed after the first."""
    box = page.locator(".painter .ink").bounding_box()
    corner = lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])  # noqa: E731
    (left, top), (right, bottom) = corner(0.22, 0.36), corner(0.92, 0.78)
    page.mouse.move(left, top)
    page.mouse.down()
    for share in (0.1, 0.25, 0.45, 0.65, 0.85, 1.0):
        yield left + share * (right - left), top + share * (bottom - top)


def write(path: Path, frames: list[Image.Image]) -> int:
    """Saves the film in the best quality that is small enough; returns its bytes."""
    first, *rest = frames
    look = {"save_all": True, "append_images": rest, "duration": FRAME_MS, "loop": 0, "method": 3}
    for quality in QUALITIES:
        first.save(path, quality=quality, **look)
        if path.stat().st_size <= LARGEST:
            break
    return path.stat().st_size


if __name__ == "__main__":
    tyro.cli(main)
