"""The one reader of videos: frames chosen by presentation time, the same at every reading.

Where a container's stamps rise and tell where to begin, as in mp4 and mkv, it is sought; elsewhere
its packets are walked through from the beginning, and decoded from the last key frame that serves.
Where stamps do not rise, frames are counted (`vjepa.reading.counted`). Nothing is believed
unchecked: the frame that comes out first must be a key frame at or before the start, and those that
were chosen by the packets' stamps must come out of the decoder with them; else decoding begins
earlier, at last with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vjepa.errors import InputError
from vjepa.reading.counted import Counted
from vjepa.reading.timing import FrameChoice, ReadFrames, Wish, choose
from vjepa.reading.video_file import (
    BrokenError,
    Mark,
    MovedError,
    NotStampedError,
    Stretch,
    VideoFile,
    is_key,
)

if TYPE_CHECKING:
    from av import VideoFrame

EARLIER = (0.0, 1.0, 5.0, 30.0)
"""Seconds before the start where a key frame is looked for, one after the other."""
FORGIVEN = 5e-4
"""Seconds: the rounding of a time that was meant to hit a frame exactly."""
SPARE = 8
"""Packets beyond the clip's last: of some, no frame comes."""
UNEVEN = "The video's rate is uneven: each frame is the nearest in time."


def read(path: Path, wish: Wish) -> ReadFrames:
    """Reads a clip of a video.

    Args:
        path: of the video.
        wish: what is wanted of it.

    Raises:
        InputError: the file is no video, has no frames that can be decoded, or ends before `start`.
    """
    try:
        return _read(VideoFile(path, wish.threads), wish)
    except BrokenError:  # what is broken looks different with every number of threads, but for one
        return _read(VideoFile(path, threads=1, tolerant=True), wish)


def timing(path: Path) -> tuple[float, float]:
    """How long a video lasts by its file's word, in seconds, else by its packets; and its rate."""
    with VideoFile(path, threads=1) as video:
        rate = video.nominal_rate
        if said := video.declared_seconds or (video.container.duration or 0) / 1e6:
            return said, rate
        stamps = [mark.pts for mark in video.marks() if mark.pts is not None]
        span = (max(stamps) - min(stamps)) if stamps else 0
        return span * float(video.stream.time_base), rate


def _read(video: VideoFile, wish: Wish) -> ReadFrames:
    with video:
        try:
            frames = Stamped(video, wish).read()
        except NotStampedError:
            frames = Counted(video, wish).read()
        return ReadFrames(np.stack(frames), tuple(video.notes))


class Stamped:
    """A clip of a video whose stamps rise."""

    def __init__(self, video: VideoFile, wish: Wish) -> None:
        self.video, self.wish = video, wish
        self.unit = float(video.stream.time_base)
        self.begin = first_shown(video)
        self.target = self.begin + (wish.start + FORGIVEN) / self.unit

    def read(self) -> list[np.ndarray]:
        """The frames, decoded from the last place that serves.

        Raises:
            NotStampedError: they must be counted.
            InputError: there are none, or none at the start.
        """
        for stretch in self._stretches():
            try:
                frames = self._try(stretch)
            except MovedError:
                continue
            if frames is not None:
                return frames
        raise InputError(
            f"{self.video.path.name} is damaged, its frames cannot be decoded: choose another."
        )

    def _stretches(self) -> Iterator[Stretch]:
        """Where decoding may begin, ever earlier."""
        if self.wish.start == 0:
            return self._walked()
        if self.video.indexed or self.video.stamps_rise():
            return chain(self._sought(), self._walked())
        return self._walked()

    def _sought(self) -> Iterator[Stretch]:
        """Stretches that the container finds by itself."""
        from av.error import FFmpegError

        for seconds in EARLIER:
            stamp = int(self.target - seconds / self.unit)
            try:
                self.video.seek(stamp)
            except FFmpegError:
                continue
            packets = enumerate(self.video.marks())
            skip, key = next(((i, mark) for i, mark in packets if mark.key), (0, None))
            if key is not None:
                marks, complete = self._scan(chain([key], (mark for _, mark in packets)))
                yield Stretch(stamp, skip, marks, complete, False)

    def _walked(self) -> Iterator[Stretch]:
        """Stretches from three key frames before the start, and from the file's beginning."""
        self.video.seek(None)
        marks, complete = self._scan(self.video.marks())
        shown(marks)  # all are stamped
        keys = [i for i, m in enumerate(marks) if m.key and m.pts <= self.target]
        for i in dict.fromkeys([*reversed(keys[-3:]), 0]):
            yield Stretch(None, i, marks[i:], complete, i == 0)

    def _scan(self, packets: Iterator[Mark]) -> tuple[list[Mark], bool]:
        """The packets to the clip's end, and whether they reach that of the file."""
        marks: list[Mark] = []
        horizon = self.target + (self.wish.num_frames - 1) / self.wish.fps / self.unit
        look = 1  # how many packets there must be to look again whether they are enough
        for mark in packets:
            marks.append(mark)
            if mark.dts is not None and mark.dts > horizon and len(marks) >= look:
                if self._enough(marks):
                    return marks, False
                look = len(marks) * 5 // 4
        return marks, True

    def _enough(self, marks: list[Mark]) -> bool:
        """Whether the packets reach beyond the clip's last frame, or begin after its first."""
        stamps, last = shown(marks), marks[-1].dts
        if stamps and stamps[0] > self.target:
            return True
        known = [stamp for stamp in stamps if stamp <= last]  # what is decoded later is shown later
        choice = self._choose(known[:-SPARE], complete=False)
        return choice is not None and choice.enough

    def _choose(self, stamps: list[int], complete: bool) -> FrameChoice | None:
        """The frames of the clip, counted among those given; None: they begin after the start."""
        first = int(np.searchsorted(stamps, self.target, side="right")) - 1
        if first < 0:
            return None
        times, wish = np.array(stamps[first:]) * self.unit, self.wish
        rate = self.video.nominal_rate
        choice = choose(times, complete, wish.num_frames, wish.fps, rate)
        return choice._replace(indices=[first + i for i in choice.indices])

    def _try(self, stretch: Stretch) -> list[np.ndarray] | None:
        """The frames; None where decoding must begin earlier."""
        stamps = shown(stretch.marks)
        # what is shown before an open group's key frame lacks its reference
        begin = self.begin if stretch.first else stretch.marks[0].pts
        stamps = [stamp for stamp in stamps if stamp >= begin]
        choice = self._choose(stamps, stretch.complete)
        if choice is None:
            return None
        if stretch.complete:
            self._check_end(stretch.marks)
        picked = [stamps[i] for i in choice.indices]
        found = self._decode_fast(stretch, picked) if self._trusted(choice, stretch.marks) else {}
        if not set(picked) <= found.keys():
            return self._decode_all(stretch, picked)
        return self._finish(found, picked, choice)

    def _trusted(self, choice: FrameChoice, marks: list[Mark]) -> bool:
        """Whether frames will come out as their packets are stamped.

        VP8 has packets that only others refer to; ASF with B-frames has stamps that are made up.
        """
        name = self.video.stream.codec_context.name
        return not (choice.uneven and name == "vp8") and not made_up(self.video, marks)

    def _decode_fast(self, stretch: Stretch, picked: list[int]) -> dict[int, np.ndarray | None]:
        try:
            return self._decode(stretch, picked, fast=True)
        except MovedError:
            return {}

    def _decode_all(self, stretch: Stretch, picked: list[int]) -> list[np.ndarray] | None:
        """The frames, chosen by the stamps that come out of the decoder."""
        for _ in range(2):
            found = self._decode(stretch, picked)
            if not found:
                return None
            stamps = list(found)
            choice = self._choose(stamps, stretch.complete)
            if choice is None:
                return None
            picked = [stamps[i] for i in choice.indices if i < len(stamps)]
            if all(found[stamp] is not None for stamp in picked):
                break
        return self._finish(found, picked, choice)

    def _decode(
        self, stretch: Stretch, picked: list[int], fast: bool = False
    ) -> dict[int, np.ndarray | None]:
        """Frames by their stamps: those that are picked, None for others; nothing if unsound.

        Args:
            stretch: where they are.
            picked: which of them are cropped.
            fast: leave out others where possible.
        """
        wanted, found = set(picked), {}
        for frame in self.video.decode(stretch, wanted if fast else None):
            if frame.pts is None or (found and frame.pts <= next(reversed(found))):
                raise NotStampedError
            if not found and not self._sound(frame, stretch):
                return {}
            found[frame.pts] = self.video.cropped(frame, self.wish) if frame.pts in wanted else None
        return found

    def _sound(self, frame: VideoFrame, stretch: Stretch) -> bool:
        """Whether the first frame shows that decoding could begin there."""
        if stretch.first or stretch.marks[0].hidden:
            return True
        return frame.pts <= self.target and is_key(frame)

    def _check_end(self, marks: list[Mark]) -> None:
        usual = 1 / self.video.nominal_rate / self.unit
        end = max(m.pts + (m.duration or usual) for m in marks if not m.hidden)
        lasts = (end - self.begin) * self.unit
        self.video.check_length(lasts)
        if self.wish.start >= lasts:
            raise self.video.past_the_end(lasts, self.wish.start)

    def _finish(
        self, found: dict[int, np.ndarray | None], picked: list[int], choice: FrameChoice
    ) -> list[np.ndarray]:
        if choice.uneven:
            self.video.note(UNEVEN)
        missing = self.wish.num_frames - len(picked)
        return [found[stamp] for stamp in [*picked, *picked[-1:] * missing]]


def shown(marks: list[Mark]) -> list[int]:
    """When the frames of packets are shown, in order.

    Raises:
        NotStampedError: some have no stamp, or two the same.
    """
    stamps = [mark.pts for mark in marks if not mark.hidden]
    if None in stamps or len(set(stamps)) < len(stamps):
        raise NotStampedError
    return sorted(stamps)


def made_up(video: VideoFile, marks: list[Mark]) -> bool:
    """Whether stamps may be the order of storing, though frames are shown in another one."""
    if video.format.startswith(("mov", "matroska")) or not video.reorders:
        return False
    return all(a.pts < b.pts for a, b in pairwise(marks))


def first_shown(video: VideoFile) -> int:
    """The stamp of the first frame that is shown; the file is at its beginning."""
    marks: list[Mark] = []
    first: int | None = None
    for mark in video.marks():
        marks.append(mark)
        if not mark.hidden and mark.pts is not None:
            first = mark.pts if first is None else min(first, mark.pts)
        if first is not None and mark.dts is not None and mark.dts >= first:
            break
    if first is None:
        raise (
            NotStampedError
            if marks
            else InputError(f"{video.path.name} has no frames: choose another file.")
        )
    begins = marks[0]
    if begins.hidden or (begins.key and begins.pts is not None and first >= begins.pts):
        return first
    # what it refers to was cut away before the file's beginning: then it is not shown
    return next((frame.pts for frame in video.decode_any() if frame.pts is not None), first)
