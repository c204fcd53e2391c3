"""A data set of videos, re-encoded once to be read fast and often: `python -m vjepa pack`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from vjepa.data.datasets import PACK_LIST, LabelledVideos
from vjepa.errors import InputError, end_with_parent
from vjepa.reading.packed import MARK
from vjepa.reading.timing import frame_step, is_even, measured_rate, nearest
from vjepa.reading.whole import read_picked

log = logging.getLogger(__name__)

GROUP = 8
"""Frames from one key frame to the next."""
QUALITY = 18
"""x264's constant rate factor: what is lost is not seen."""


@dataclass(frozen=True)
class PackSettings:
    """How videos are packed.

    Attributes:
        short_side: of the frames, pixels; smaller ones stay as they are.
        fps: frames per second, or a little off: a whole number of source frames apart.
    """

    short_side: int = 256
    fps: float = 15.0


@dataclass(frozen=True)
class Packed:
    """What became of a data set.

    Attributes:
        videos: how many are in the pack.
        left_out: path of each video that could not be read, and why.
    """

    videos: int
    left_out: tuple[tuple[str, str], ...]


def pack(
    datasets: dict[str, LabelledVideos], out: Path, settings: PackSettings, workers: int = 0
) -> Packed:
    """Packs data sets into one folder: videos, lists with their labels, and how they were made.

    A pack that was interrupted is gone on with; what is in it is not made again.

    Args:
        datasets: by the name of their split; "" for one that is none.
        out: the folder.
        settings: of the videos.
        workers: processes; 0: one for each core.

    Raises:
        InputError: the folder holds something else, or a pack with other settings, or is that of
            the videos; none of them can be read.
    """
    paths = sorted({path for dataset in datasets.values() for path in dataset.paths})
    _prepare(out, settings, paths)
    left_out = _pack_all(paths, out, settings, workers or os.cpu_count() or 1)
    if paths and len(left_out) == len(paths):
        raise InputError(f"None of {len(paths)} videos can be read; the first: {left_out[0][1]}")
    for split, dataset in datasets.items():
        _write_list(dataset, split, out)
    about = asdict(settings) | {"videos": len(paths) - len(left_out), "left_out": left_out}
    (out / MARK).write_text(json.dumps(about, indent=1))
    return Packed(len(paths) - len(left_out), tuple(left_out))


def _prepare(out: Path, settings: PackSettings, paths: list[Path]) -> None:
    """Makes the folder, or checks that it is the same pack begun before."""
    if settings.short_side < 16 or not 0 < settings.fps < 1000:
        raise InputError("A pack needs a short side of 16 or more pixels, and a positive rate.")
    if any(out.resolve() in path.resolve().parents for path in paths):
        raise InputError(f"{out} holds the videos: choose another folder for the pack.")
    mark = out / MARK
    if mark.is_file():
        made = json.loads(mark.read_text())
        if any(made.get(name) != value for name, value in asdict(settings).items()):
            raise InputError(f"{out} is a pack with other settings: choose another folder.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there and no pack: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(asdict(settings)))


def _pack_all(
    paths: list[Path], out: Path, settings: PackSettings, workers: int
) -> list[tuple[str, str]]:
    """Packs what is not there yet; the videos that cannot be read, and why."""
    left_out = []
    waiting = [path for path in paths if not (out / packed_name(path)).is_file()]
    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
        jobs = {pool.submit(try_video, path, out, settings): path for path in waiting}
        with tqdm(total=len(paths), initial=len(paths) - len(jobs), unit="video") as bar:
            for job in as_completed(jobs):
                bar.update()
                if reason := job.result():
                    left_out.append((str(jobs[job]), reason))
                    log.warning("%s is left out: %s", *left_out[-1])
    return sorted(left_out)


def packed_name(path: Path) -> str:
    """What a video is called in a pack: the same whatever else is packed."""
    digest = hashlib.sha256(str(path.absolute()).encode(errors="surrogateescape")).hexdigest()
    stem = path.stem.encode(errors="replace")[:80].decode(errors="ignore")
    return f"{stem}-{digest[:12]}.mp4"


def try_video(path: Path, out: Path, settings: PackSettings) -> str:
    """Packs a video; why it cannot be, or nothing."""
    try:
        pack_video(path, out / packed_name(path), settings)
    except Exception as error:  # files are broken in ways that nobody can list; none is fatal
        return str(error) or type(error).__name__
    return ""


def pack_video(path: Path, to: Path, settings: PackSettings | None = None) -> None:
    """Re-encodes one video, whole or not at all.

    Raises:
        InputError: it cannot be read.
    """
    settings = settings or PackSettings()
    partial = to.with_suffix(".partial")
    try:
        writer = Writer(partial, settings.fps)
        read_picked(path, writer.pick, writer.write, settings.short_side)
        writer.close()
        partial.rename(to)
    finally:
        partial.unlink(missing_ok=True)


class Writer:
    """Writes the frames that it picks, at a constant rate.

    Args:
        path: of the file.
        fps: frames per second that are wanted.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.container = None

    def pick(self, times: np.ndarray, nominal: float) -> list[int]:
        """Chooses frames, and begins the file; again, when others come out than were promised."""
        if self.container is not None:
            self.container.close()
        self.container = None
        if is_even(times):
            rate = measured_rate(times, nominal)
            step = frame_step(rate, self.fps)
            self.rate, picked = rate / step, list(range(0, len(times), step))
        else:
            self.rate = self.fps
            picked = nearest(times, np.arange(0, times[-1] + 0.5 / self.fps, 1 / self.fps))
        self.times_shown = iter(np.unique(picked, return_counts=True)[1].tolist())
        return picked

    def write(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, 0]:
        """Encodes a frame as often as it is shown."""
        import av

        if self.container is None:
            self._begin(*image.shape[:2])
        height, width = self.stream.height, self.stream.width
        pixels = np.ascontiguousarray(image[:height, :width])
        for _ in range(next(self.times_shown)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            self.container.mux(self.stream.encode(frame))
        return np.empty(0, np.uint8)

    def close(self) -> None:
        """Ends the file."""
        self.container.mux(self.stream.encode(None))
        self.container.close()

    def _begin(self, height: int, width: int) -> None:
        import av

        self.container = av.open(str(self.path), "w", format="mp4")
        rate = Fraction(self.rate).limit_denominator(1001)
        options = {"crf": str(QUALITY), "preset": "fast", "tune": "fastdecode", "threads": "1"}
        self.stream = self.container.add_stream("libx264", rate=rate, options=options)
        self.stream.height, self.stream.width = max(2, height & ~1), max(2, width & ~1)
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.gop_size = GROUP
        self.stream.codec_context.max_b_frames = 0


def _write_list(dataset: LabelledVideos, split: str, out: Path) -> None:
    """The list of the videos that are packed, with their labels, and the names of these."""
    if not split and dataset.labels.max(initial=-1) < 0:
        return  # without a list, a folder of videos has no labels
    (out / (f"{split}.csv" if split else PACK_LIST)).write_text("".join(_lines(dataset, out)))
    if dataset.classes and dataset.classes != tuple(map(str, range(len(dataset.classes)))):
        (out / "classes.txt").write_text("\n".join(dataset.classes) + "\n")


def _lines(dataset: LabelledVideos, out: Path) -> Iterator[str]:
    for path, label in zip(dataset.paths, dataset.labels.tolist(), strict=True):
        name = packed_name(path)
        if (out / name).is_file():
            yield f"{name},{label}\n"
