"""What every test shares: shape checks switched on, few threads, small videos, one browser."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch: tests are small, machines may be too

from jaxtyping import install_import_hook

# Before anything of ours is imported: jaxtyping annotations are checked on every call in tests.
install_import_hook(["vjepa", "decoder"], "typechecker.check")

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from browser import PATIENCE, open_page, serving
from playwright.sync_api import Browser, Page, sync_playwright
from stored import load

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of files with known outputs of the official code."""
    return GOLDEN


@pytest.fixture(scope="session")
def cup_clip() -> Path:
    """The real clip that no model was trained on."""
    return ROOT / "assets" / "clips" / "cup_tilt_zoom.mp4"


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes RGB frames (T, H, W, 3) with exact time stamps; returns the path."""

    def make(frames: np.ndarray, fps: float = 30, name: str = "video.mp4", pts=None) -> Path:
        path = tmp_path / name
        write_video(path, frames, fps, pts)
        return path

    return make


def write_video(path: Path, frames: np.ndarray, fps: float, pts: list[int] | None = None) -> None:
    """H.264 with B-frames and several key frames; `pts` counts in frame periods."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "10", "g": "20", "bf": "2"}
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i if pts is None else pts[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_classes(root: Path, counts: dict[str, int], length: int) -> None:
    """Class folders of dark and of bright videos: so many of each class in every split."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for name, level in (("dark", 40), ("bright", 200)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                frames = rng.integers(level, level + 30, (length, 48, 64, 3), dtype=np.uint8)
                write_video(folder / f"{number}.mp4", frames, 10)


@pytest.fixture(scope="module")  # not session: its event loop would stay open around other tests
def browser() -> Iterator[Browser]:
    """Headless Chromium or Chrome: the system's, else the one Playwright installed."""
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if path else []
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The app on a server of its own."""
    with serving(tmp_path_factory.mktemp("app") / "log.txt") as address:
        yield address


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab that went nowhere yet; no script in it may fail."""
    tab = browser.new_page(viewport={"width": 1440, "height": 1000})
    tab.set_default_timeout(PATIENCE)
    errors = []
    tab.on("pageerror", lambda error: errors.append(error))
    yield tab
    tab.close()
    assert not errors


@pytest.fixture
def page(tab: Page, address: str) -> Page:
    """The app's first page with its first answer."""
    tab.set_viewport_size({"width": 1440, "height": 900})
    open_page(tab, address)
    return tab


@pytest.fixture(autouse=True)
def no_mishap_is_hidden(monkeypatch):
    """What the app would tell in a sentence, since nobody foresaw it, is an exception in tests."""
    if "app.workbench.bench" in sys.modules:

        def reraise(error: Exception) -> bool:
            raise error

        monkeypatch.setattr("app.workbench.bench.tell", reraise)


@pytest.fixture(autouse=True)
def own_accelerator() -> Iterator[None]:
    """Accelerate keeps the first precision of a process; every test may choose its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def v1(golden):
    """An official V-JEPA checkpoint: what it holds, without prefixes."""
    state = torch.load(golden / "vjepa1-a" / "checkpoint.pth.tar", weights_only=True)
    parts = ("encoder", "predictor", "target_encoder")
    return {p: {n.removeprefix("module.backbone."): t for n, t in state[p].items()} for p in parts}


@pytest.fixture
def write(golden, tmp_path):
    """Writes a checkpoint beside the config.json of that golden model."""

    def write(state, config=golden / "vjepa1-a" / "config.json", name="m.pth.tar", **kwargs):
        if isinstance(config, dict):
            (tmp_path / "config.json").write_text(json.dumps(config))
        elif config is not None:
            shutil.copy(config, tmp_path / "config.json")
        torch.save(state, tmp_path / name, **kwargs)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def expected(golden):
    """The model of that official checkpoint."""
    return load(golden / "vjepa1-a" / "checkpoint.pth.tar")
