"""Frames from anywhere in a video, chosen by all its stamps and decoded in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vjepa.errors import InputError
from vjepa.reading import stills
from vjepa.reading.counted import counted_rate, decode_numbered
from vjepa.reading.reader import first_shown, made_up, shown
from vjepa.reading.timing import Crop, Pick, ReadFrames
from vjepa.reading.upright import upright
from vjepa.reading.video_file import (
    BrokenError,
    Mark,
    MovedError,
    NotStampedError,
    Stretch,
    VideoFile,
)


def read_picked(
    path: Path, pick: Pick, crop: Crop, short_side: int | None, threads: int = 1
) -> ReadFrames:
    """Reads frames of a video, or of a picture that moves, by their places in it.

    Args:
        path: of a video.
        pick: chooses frames when all of them are known.
        crop: what is made of each upright RGB frame; each is decoded and cropped once.
        short_side: to which frames are shrunk before; None: they are not.
        threads: that decode.

    Raises:
        InputError: it is no video, or its frames cannot be decoded.
    """
    moving = stills.read_picked(path, pick, crop)
    if moving is not None:
        return moving
    try:
        return _read(VideoFile(path, threads), pick, crop, short_side)
    except BrokenError:
        return _read(VideoFile(path, threads=1, tolerant=True), pick, crop, short_side)


def _read(video: VideoFile, pick: Pick, crop: Crop, short_side: int | None) -> ReadFrames:
    with video:
        whole = Whole(video, pick, lambda frame: crop(upright(frame, video.aspect, short_side)))
        return ReadFrames(np.stack(whole.read()), tuple(video.notes))


class Whole:
    """Picked frames of a video."""

    def __init__(self, video: VideoFile, pick: Pick, cropped: Callable) -> None:
        self.video, self.pick, self.cropped = video, pick, cropped

    def read(self) -> list[np.ndarray]:
        """The frames: by the packets' stamps; else by those that come out; else counted."""
        try:
            return self._by_packets() or self._by_frames()
        except NotStampedError:
            return self._by_count()

    def _by_packets(self) -> list[np.ndarray] | None:
        begin = first_shown(self.video)
        self.video.seek(None)
        marks = list(self.video.marks())
        stamps = [stamp for stamp in shown(marks) if stamp >= begin]
        if made_up(self.video, marks):
            return None
        picked = self._picked(stamps)
        try:
            found = self._found(Stretch(None, 0, marks, True, True), picked, set(picked))
        except MovedError:
            return None
        return [found[stamp] for stamp in picked] if set(picked) <= found.keys() else None

    def _by_frames(self) -> list[np.ndarray]:
        """Where frames do not come out as the packets promise: all are decoded, twice."""
        self.video.seek(None)
        marks: list[Mark] = list(self.video.marks())
        stretch = Stretch(None, 0, marks, True, True)
        stamps = [frame.pts for frame in self._rising(self.video.decode(stretch))]
        picked = self._picked(stamps)
        found = self._found(stretch, picked, None)
        return [found[stamp] for stamp in picked]

    def _by_count(self) -> list[np.ndarray]:
        total = sum(1 for _ in decode_numbered(self.video, 0))
        picked = self._picked(range(total), unit=1 / counted_rate(self.video))
        wanted, frames = set(picked), enumerate(decode_numbered(self.video, 0))
        found = {i: self.cropped(frame) for i, frame in frames if i in wanted}
        return [found[i] for i in picked]

    def _picked(self, stamps: list[int] | range, unit: float | None = None) -> list[int]:
        if not stamps:
            name = self.video.path.name
            raise InputError(f"{name} is damaged, its frames cannot be decoded: choose another.")
        times = (np.array(stamps) - stamps[0]) * (unit or float(self.video.stream.time_base))
        return [stamps[i] for i in self.pick(times, self.video.nominal_rate)]

    def _found(
        self, stretch: Stretch, picked: list[int], wanted: set[int] | None
    ) -> dict[int, np.ndarray]:
        frames = self._rising(self.video.decode(stretch, wanted))
        return {frame.pts: self.cropped(frame) for frame in frames if frame.pts in picked}

    def _rising(self, frames: Iterator) -> Iterator:
        """The same frames; NotStampedError as soon as their stamps do not rise."""
        last = None
        for frame in frames:
            if frame.pts is None or (last is not None and frame.pts <= last):
                raise NotStampedError
            last = frame.pts
            yield frame
