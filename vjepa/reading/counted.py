"""Clips of videos whose stamps do not rise: frames are counted, at the rate that the file names.

In AVI with B-frames, in raw streams, and where recordings were put one behind the other, stamps say
nothing of when a frame is shown; the order in which the decoder gives them does. Packets are
numbered in the order of the file, and as many frames as packets lie before a key frame, but for
those that follow it in the file and are shown before it. These are seen when decoding begins one
key frame earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from vjepa.errors import InputError
from vjepa.reading.timing import UNBOUNDED, Wish, frame_indices
from vjepa.reading.video_file import VideoFile

if TYPE_CHECKING:
    from av import Packet, VideoFrame

TRIES = 3
"""Key frames before the start that are tried, before decoding begins with the file."""


class Counted:
    """A clip of a video whose frames are counted."""

    def __init__(self, video: VideoFile, wish: Wish) -> None:
        self.video, self.wish = video, wish
        self.rate = counted_rate(video)
        self.first = int(wish.start * self.rate + 1e-2)
        self.lost = packets_without_frames(video)

    def read(self) -> list[np.ndarray]:
        """The frames.

        Raises:
            InputError: there are none, or none at the start.
        """
        total = UNBOUNDED
        for _ in range(2):
            picked = self._pick(total)
            found, total = self._decode(picked)
            if set(picked) <= found.keys():
                return [found[i] for i in picked]
            self._check_end(total)
        raise InputError(
            f"{self.video.path.name} is damaged, its frames cannot be decoded: choose another."
        )

    def _pick(self, total: int) -> list[int]:
        wish = self.wish
        return frame_indices(total, self.rate, wish.num_frames, self.first, wish.fps)

    def _check_end(self, total: int) -> None:
        self.video.check_length(total / self.rate)
        if self.first >= total:
            raise self.video.past_the_end(total / self.rate, self.wish.start)

    def _decode(self, picked: list[int]) -> tuple[dict[int, np.ndarray], int]:
        """Frames by their number, and how many there are where that was seen."""
        for begin, anchor in self._begins():
            numbered = self._numbered(begin, anchor)
            if numbered is not None:
                return self._collect(numbered, set(picked))
        raise AssertionError("the beginning of a file is always found")

    def _collect(
        self, numbered: Iterator[tuple[int, VideoFrame]], wanted: set[int]
    ) -> tuple[dict[int, np.ndarray], int]:
        found, number = {}, self.first - 1
        for number, frame in numbered:
            if number in wanted:
                found[number] = self.video.cropped(frame, self.wish)
                if len(found) == len(wanted):
                    break
        return found, number + 1

    def _begins(self) -> Iterator[tuple[int, int]]:
        """Packets that decoding may begin with, and the key frame after them that is counted from.

        The last is the file's first.
        """
        keys = self._keys()
        anchor = next(keys, 0)
        for _, begin in zip(range(TRIES), keys, strict=False):
            yield begin, anchor
            anchor = begin
        yield 0, 0

    def _keys(self) -> Iterator[int]:
        """Numbers of the packets of key frames at or before the start, the last first."""
        entries = self.video.entries()
        if entries is not None:
            last = min(self.first + self.lost, len(entries) - 1)
            return (i for i in range(last, -1, -1) if entries[i].is_keyframe)
        self.video.seek(None)
        flags = [mark.key for mark in islice(self.video.marks(), self.first + self.lost + 1)]
        return (i for i in range(len(flags) - 1, -1, -1) if flags[i])

    def _numbered(self, begin: int, anchor: int) -> Iterator[tuple[int, VideoFrame]] | None:
        """Frames from a key frame on, each with its number; None if that is after the start."""
        frames = decode_numbered(self.video, begin)
        if anchor == 0:
            return enumerate(frames)
        late = 0  # frames that follow the key frame in the file and are shown before it
        for frame in frames:
            if frame.pts == anchor:
                number = anchor + late - self.lost
                return self._go_on(number, frame, frames) if number <= self.first else None
            late += frame.pts is not None and frame.pts > anchor
        return None

    def _go_on(
        self, number: int, frame: VideoFrame, frames: Iterator[VideoFrame]
    ) -> Iterator[tuple[int, VideoFrame]]:
        yield number, frame
        yield from enumerate(frames, start=number + 1)


def packets_without_frames(video: VideoFile) -> int:
    """How many packets of a file that begins anywhere lie before its first key frame."""
    video.seek(None)
    return next((i for i, mark in enumerate(video.marks()) if mark.key), 0)


def counted_rate(video: VideoFile) -> float:
    """Frames per second: the container's word, unless its table leaves places empty."""
    entries, nominal = video.entries(), video.nominal_rate
    if entries is None:
        return nominal
    ticks = entries[-1].timestamp - entries[0].timestamp
    measured = (len(entries) - 1) / max(1, ticks) / float(video.stream.time_base)
    return nominal if abs(nominal / measured - 1) < 0.03 else measured


def decode_numbered(video: VideoFile, begin: int) -> Iterator[VideoFrame]:
    """Frames from a packet on, in the order in which they are shown.

    The stamp of each is the number of the packet that it came in.
    """
    context = video.stream.codec_context
    context.skip_frame = "DEFAULT"
    for number, packet in enumerate(_packets_from(video, begin), start=begin):
        packet.pts = number
        yield from video.whole_frames(packet, count_all=True)
    yield from video.whole_frames(None, count_all=True)


def _packets_from(video: VideoFile, begin: int) -> Iterator[Packet]:
    """The packets from a number on: by the container's table, if it finds the place with it."""
    entries = video.entries()
    if entries is not None and begin:
        stamp = entries[begin].timestamp
        video.seek(stamp)
        packets = video.packets()
        packet = next(packets, None)
        if packet is not None and packet.dts == stamp:
            yield packet
            yield from packets
            return
    video.seek(None)
    packets = video.packets()
    for _ in range(begin):
        next(packets, None)
    yield from packets
