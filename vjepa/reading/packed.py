"""Videos of a pack, read by decord: random access at full speed.

`python -m vjepa pack` writes them as decord reads rightly and fast: short closed groups of pictures
without B-frames, at a constant rate. Any other video goes through `vjepa.reading.reader`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vjepa.errors import InputError
from vjepa.reading.timing import Crop, Pick, ReadFrames, Wish, frame_indices

MARK = "pack.json"
"""Lies beside the videos of a pack: how they were made."""

_IMPORTING = Lock()


def is_packed(path: Path) -> bool:
    """Whether a video lies in a pack."""
    return (path.parent / MARK).is_file()


def read(path: Path, wish: Wish) -> ReadFrames | None:
    """A clip of a packed video, the same as the reader's; None for any other.

    Raises:
        InputError: it is damaged, or ends before the start.
    """
    if not is_packed(path):
        return None
    reader = _open(path, wish.threads)
    rate, total = reader.get_avg_fps(), len(reader)
    first = int(wish.start * rate + 1e-2)
    if first >= total:
        lasts = total / rate
        raise InputError(
            f"{path.name} lasts {lasts:.2f} s: start before that, not at {wish.start} s."
        )
    return _frames(reader, frame_indices(total, rate, wish.num_frames, first, wish.fps), wish.crop)


def read_picked(path: Path, pick: Pick, crop: Crop) -> ReadFrames | None:
    """Frames of a packed video by their places in it; None for any other."""
    if not is_packed(path):
        return None
    reader = _open(path)
    rate = reader.get_avg_fps()
    return _frames(reader, pick(np.arange(len(reader)) / rate, rate), crop)


def timing(path: Path) -> tuple[float, float] | None:
    """How long a packed video lasts, in seconds, and its rate; None for any other."""
    if not is_packed(path):
        return None
    reader = _open(path)
    rate = reader.get_avg_fps()
    return len(reader) / rate, rate


def _open(path: Path, threads: int = 1) -> Any:
    decord = import_decord()
    decord.logging.set_level(decord.logging.QUIET)  # what is wrong is said by our exception
    try:
        return decord.VideoReader(str(path), num_threads=threads)
    except Exception as error:  # it raises what it likes
        raise InputError(f"{path.name} is damaged: delete it and pack again.") from error


def _frames(reader: Any, indices: list[int], crop: Crop) -> ReadFrames:
    places = sorted(set(indices))
    try:
        frames = reader.get_batch(places).asnumpy()
    except import_decord().DECORDError:  # a batch has no room for rows that are padded: see `_rgb`
        frames = [reader[place].asnumpy() for place in places]
    read = {i: crop(_rgb(frame)) for i, frame in zip(places, frames, strict=True)}
    return ReadFrames(np.stack([read[i] for i in indices]))


def _rgb(frame: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as it was meant: at some widths (48, 96, 144) decord takes a row's end for channels.

    Rows are padded, by more where the processor has wider registers; where the padded length is a
    multiple of the width, the frame comes with more than three channels and its pixels displaced.
    """
    height, width, _ = frame.shape
    return frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def import_decord() -> Any:
    """decord, without the CUDA libraries that PyTorch brought along.

    For its GPU builds decord2 makes all of them global. One is libnvblas, which then stands in for
    torch's BLAS, and without a GPU it leads nowhere: a crash at the next float32 product. They are
    looked for in the package `nvidia`, which is therefore out of sight during the import.
    """
    with _IMPORTING:
        if "decord" in sys.modules:
            return sys.modules["decord"]
        nvidia = sys.modules.pop("nvidia", None)
        sys.modules["nvidia"] = None
        try:
            import decord
        finally:
            sys.modules.pop("nvidia")
            if nvidia:
                sys.modules["nvidia"] = nvidia
    return decord
