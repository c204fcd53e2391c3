"""What is wanted of a file, what comes of it, and which of its frames make up a clip.

Frames are counted where the rate is constant, else taken by time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

Pick = Callable[[Float64[np.ndarray, " n"], float], list[int]]
"""Which frames are wanted, given when each is shown, in seconds, and the nominal rate."""


Crop = Callable[[np.ndarray], np.ndarray]


class Wish(NamedTuple):
    """What a caller wants of a video.

    Attributes:
        start: seconds from the first frame that is shown.
        fps: frames per second of the clip.
        num_frames: T.
        short_side: frames are shrunk to this while they become RGB; None: they are not.
        crop: what is made of each upright RGB frame.
        threads: that decode; 0: as many as there are cores. The frames are the same.
    """

    start: float
    fps: float
    num_frames: int
    short_side: int | None
    crop: Callable[[np.ndarray], np.ndarray]
    threads: int = 0


class ReadFrames(NamedTuple):
    """Frames of a video.

    Attributes:
        frames: RGB 0..255; what the wish's `crop` made of each, stacked.
        notes: what a viewer should know of them, in sentences.
    """

    frames: UInt8[np.ndarray, "t ..."]
    notes: tuple[str, ...] = ()


UNBOUNDED = 1 << 40


class FrameChoice(NamedTuple):
    """Frames that make up a clip.

    Attributes:
        indices: of the frames, in order; a short video's repeat.
        uneven: whether they were taken by time, because their rate is not constant.
        enough: False where frames must be known further on before one can choose.
    """

    indices: list[int]
    uneven: bool
    enough: bool


def frame_indices(
    available: int, native_fps: float, num_frames: int, first: int, fps: float
) -> list[int]:
    """Which of a video's `available` frames make up a clip that begins at frame `first`.

    Equally spaced and inside the video; see `clips.read_frames` for what a short video gets.
    """
    room, steps = available - 1 - first, max(1, num_frames - 1)
    step = min(frame_step(native_fps, fps), room // steps)
    if step >= 1:
        return [first + step * i for i in range(num_frames)]
    return [first + round(room * i / steps) for i in range(num_frames)]


def frame_step(native_fps: float, fps: float) -> int:
    """The whole number of source frames that is nearest to the wanted rate, at least one."""
    return max(1, round(native_fps / fps)) if math.isfinite(native_fps) else 1


def choose(
    times: Float64[np.ndarray, " n"], complete: bool, num_frames: int, fps: float, nominal: float
) -> FrameChoice:
    """Chooses the frames of a clip that begins with the first of those given.

    Args:
        times: when each frame is shown, in seconds, rising; nothing between them is left out.
        complete: whether the last of them is the video's last.
        num_frames: T.
        fps: frames per second of the clip.
        nominal: frames per second that the container names; believed where the stamps agree.
    """
    spanned = int(np.searchsorted(times, times[0] + (num_frames - 1) / fps + 1e-6, side="right"))
    window = times[: max(spanned, num_frames)]
    rate = measured_rate(window, nominal)
    if is_even(window) and (rate == nominal or _agrees(rate, fps)):
        available = len(times) if complete else UNBOUNDED
        indices = frame_indices(available, rate, num_frames, 0, fps)
        return FrameChoice(indices, False, indices[-1] < len(times))
    wanted = times[0] + np.arange(num_frames) / fps
    if wanted[-1] <= times[-1] + 0.5 / fps:
        return FrameChoice(nearest(times, wanted), True, complete or bool(wanted[-1] <= times[-1]))
    indices = frame_indices(len(times), len(times) * fps, num_frames, 0, fps)
    return FrameChoice(indices, True, complete)


def is_even(times: Float64[np.ndarray, " n"]) -> bool:
    """Whether frames follow each other at a constant rate, but for jitter and rounding.

    A frame that is missing or shown twice as long as the others is uneven, and so is a slow drift.
    The 3:2 pattern of films on television is not: counted, its motion is smooth.
    """
    if len(times) < 3:
        return True
    gaps = np.diff(times)
    usual, mean = np.median(gaps), gaps.mean()
    straight = times[0] + mean * np.arange(len(times))
    jitter = np.abs(times - straight).max()
    return bool(0.4 * usual < gaps.min() and gaps.max() < 1.6 * usual and jitter <= 0.6 * mean)


def _agrees(rate: float, fps: float) -> bool:
    """Whether whole steps come near to the wanted rate; if not, frames are taken by time."""
    return 0.8 <= rate / frame_step(rate, fps) / fps <= 1.25


def measured_rate(times: Float64[np.ndarray, " n"], nominal: float) -> float:
    """Frames per second: the container's word, unless the stamps say something else."""
    if len(times) < 2:
        return nominal
    measured = (len(times) - 1) / (times[-1] - times[0])
    return nominal if abs(nominal / measured - 1) < 0.03 else float(measured)


def nearest(times: Float64[np.ndarray, " n"], wanted: Float64[np.ndarray, " t"]) -> list[int]:
    """For each time the place of the frame that is nearest to it, of two the earlier."""
    after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    earlier = wanted - times[after - 1] <= times[after] - wanted + 1e-9
    return (after - earlier).tolist()
