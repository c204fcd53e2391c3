"""Several views of a video, as frozen evaluation averages over: clips in time, crops in space."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from tqdm import tqdm

from vjepa.config import ModelConfig
from vjepa.data.clips import DEFAULT_FPS, existing_file, read_picked, square
from vjepa.data.datasets import LabelledVideos
from vjepa.errors import InputError
from vjepa.reading.timing import Crop, choose, frame_indices, is_even, measured_rate

log = logging.getLogger(__name__)

Views = UInt8[np.ndarray, "clips views t s s 3"]

PLACES = {1: (0.5,), 3: (0.5, 0.0, 1.0)}
"""Where on the longer side each view lies, 0..1, by the number of views."""
SHORT = "%s has %d frames, fewer than the %d of the model's clips: some are repeated."
READERS = 4
"""Videos decoded side by side; as many again wait, decoded, to be taken."""


def read_views(path: str | Path, config: ModelConfig, clips: int = 2, views: int = 3) -> Views:
    """Reads several clips of a video, and one or three views of each.

    The paper's frozen evaluation of video classes: 16 x 2 x 3 is 16 frames, 2 clips, 3 views.

    The clips are spread evenly: the first begins with the video, the last ends with it, a single
    one lies in the middle. The first view is the centre; the others are left and right, or top and
    bottom, of the longer side. Rate, crops and resizing are those of `read_frames`, and so is what
    a short video gets: a smaller step first, then repeated frames, and a warning. A still image is
    repeated.
    Every frame is decoded once, in one forward pass.

    Args:
        path: path of a video or of an image file.
        config: of the model; its image size and number of frames.
        clips: clips along time.
        views: crops of each clip, 1 or 3.

    Returns:
        RGB 0..255, (clips, views, T, H, W, 3).

    Raises:
        InputError: the file is missing, empty or damaged; there are no such clips or views.
    """
    _check_counts(clips, views)
    path, places = existing_file(path), PLACES[views]

    def crop(image: np.ndarray) -> np.ndarray:
        return np.stack([square(image, config.image_size, place) for place in places])

    frames = read_spread(path, config, clips, crop, config.image_size)
    return np.ascontiguousarray(frames.swapaxes(1, 2))


def read_spread(
    path: Path, config: ModelConfig, clips: int, crop: Crop, short_side: int | None
) -> UInt8[np.ndarray, "clips t ..."]:
    """Several clips of a video, evenly spread; in the order of `read_views`.

    Args:
        path: of the file.
        config: gives the number of frames.
        clips: how many.
        crop: what is made of each upright frame, once.
        short_side: to which frames are shrunk before; None: they are not.

    Raises:
        InputError: the file is empty or damaged.
    """

    def pick(times: np.ndarray, rate: float) -> list[int]:
        if 1 < len(times) < config.num_frames:
            log.warning(SHORT, path, len(times), config.num_frames)
        return spread(times, rate, config.num_frames, clips).flatten().tolist()

    frames = read_picked(path, pick, crop, short_side).frames  # (clips * t, ...)
    return frames.reshape(clips, config.num_frames, *frames.shape[1:])


def spread(
    times: Float64[np.ndarray, " n"], nominal: float, num_frames: int, clips: int
) -> Int64[np.ndarray, "clips t"]:
    """Which frames make up each clip: by counting where the rate is constant, else by time."""
    if is_even(times):
        return clip_indices(len(times), measured_rate(times, nominal), num_frames, clips)
    latest = max(times[-1] - (num_frames - 1) / DEFAULT_FPS, 0)
    starts = np.linspace(0, latest, clips) if clips > 1 else np.array([latest / 2])
    found = []
    for first in (np.searchsorted(times, starts + 1e-6, side="right") - 1).tolist():
        choice = choose(times[first:], True, num_frames, DEFAULT_FPS, nominal)
        found.append(first + np.array(choice.indices))
    return np.stack(found)


def clip_indices(
    available: int, native_fps: float, num_frames: int, clips: int
) -> Int64[np.ndarray, "clips t"]:
    """Which of a video's `available` frames make up each clip."""
    steps = np.array(frame_indices(available, native_fps, num_frames, 0, DEFAULT_FPS))
    latest = available - 1 - steps[-1]
    starts = np.linspace(0, latest, clips).astype(int) if clips > 1 else np.array([latest // 2])
    return starts[:, None] + steps


@dataclass
class Reading:
    """The videos of a dataset one by one, decoded ahead; those that cannot be are left out.

    Iterating gives `(index, frames)`: the place in the dataset, and what `read_views` returns. Each
    broken video is named in a warning of this module's logger, and counted by the progress bar.

    Attributes:
        dataset: its paths are read in order.
        config, clips, views: as in `read_views`.
        broken: path of every video left out so far, and why.

    Raises:
        InputError: at the end of an iteration that could read none.
    """

    dataset: LabelledVideos
    config: ModelConfig
    clips: int
    views: int
    broken: list[tuple[Path, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, Views]]:
        self.broken.clear()
        paths = self.dataset.paths
        with tqdm(total=len(paths), desc="videos", unit="video") as bar:
            for index, frames in enumerate(self._read_ahead()):
                bar.update()
                if isinstance(frames, str):
                    self._leave_out(paths[index], frames, bar)
                else:
                    yield index, frames
        if paths and len(self.broken) == len(paths):
            raise InputError(
                f"None of the {len(paths)} videos of {self.dataset.origin} can be read; "
                f"of the first: {self.broken[0][1]}"
            )

    def _read_ahead(self) -> Iterator[Views | str]:
        """What `_read` returns for each path, in order."""
        paths = iter(self.dataset.paths)
        pool = ThreadPoolExecutor(READERS)  # threads are enough: decoding holds no interpreter lock
        try:
            waiting = deque(pool.submit(self._read, path) for path in islice(paths, 2 * READERS))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(self._read, path) for path in islice(paths, 1))
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, path: Path) -> Views | str:
        """The views of a video, or why there are none."""
        try:
            return read_views(path, self.config, self.clips, self.views)
        except Exception as error:  # files are broken in ways that nobody can list; none is fatal
            return str(error) or type(error).__name__

    def _leave_out(self, path: Path, reason: str, bar: tqdm) -> None:
        self.broken.append((path, reason))
        with tqdm.external_write_mode():
            log.warning("%s is left out: %s", path, reason)
        bar.set_postfix(broken=len(self.broken))


def readable(
    dataset: LabelledVideos, config: ModelConfig, clips: int = 2, views: int = 3
) -> Reading:
    """Iterates over the videos of a dataset that can be read; afterwards `.broken` has the others.

    Raises:
        InputError: there are no such clips or views.
    """
    _check_counts(clips, views)
    return Reading(dataset, config, clips, views)


def _check_counts(clips: int, views: int) -> None:
    if clips < 1 or views not in PLACES:
        raise InputError(f"Ask for 1 or more clips with 1 or 3 views each, not {clips} x {views}.")
