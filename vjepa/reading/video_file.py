"""One video track of a file: its packets' stamps without decoding, and frames decoded from a place.

A packet is what a container keeps of a frame; its stamps can be read hundreds of times as fast as
the frame is decoded, so that frames are chosen first and decoded afterwards.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vjepa.errors import InputError
from vjepa.reading.timing import Wish
from vjepa.reading.upright import is_hdr, upright

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.index import IndexEntries


from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


INDEXED = ("mov", "matroska", "avi", "flv")
"""Containers whose own tables say where to begin decoding; elsewhere packets are walked through."""
SOUGHT = ("mpegts", "mpeg", "asf")
"""Containers without such tables that can be sought by stamps, if these rise."""
RAW = {"avs2", "avs3", "cavsvideo", "dirac", "evc", "h261", "h263", "h264", "hevc", "m4v", "mjpeg"}
RAW |= {"mpegvideo", "vc1", "vvc"}
"""Streams without a container: their stamps are made up."""
STREAMED = ("mpegts", "mpeg")
"""Made to be cut and joined: where they were, a packet counts as corrupt that may be whole."""
WALKED_BYTES = 64 << 20
PLACES = 16  # where stamps are looked at
MAX_PIXELS = 1 << 27  # of a frame: four times 8K; what claims more is damaged or hostile
MAX_THREADS = 8
MAX_MARKS = 4_000_000  # packets that are looked at: a day at 46 frames a second

CUT_OFF = "The file is cut off or damaged: what of it can be decoded is shown."
HDR = "The video is HDR and is shown without tone mapping: its colours look pale."


class Mark(NamedTuple):
    """What a container says of a packet; times in units of the track's time base.

    Attributes:
        pts: when its frame is shown, None where the container does not say.
        dts: when it is decoded; rises from packet to packet.
        duration: 0 where the container does not say.
        key: whether decoding can begin here.
        hidden: whether an edit list takes its frame out: decoded, never shown.
    """

    pts: int | None
    dts: int | None
    duration: int
    key: bool
    hidden: bool


@dataclass(frozen=True)
class Stretch:
    """Packets that follow each other, the first of them a key frame's.

    Attributes:
        seek: stamp to seek to; None: the beginning of the file.
        skip: packets to pass over after that.
        marks: of the packets.
        complete: whether the last of them is the file's last.
        first: whether the first of them is the file's first.
    """

    seek: int | None
    skip: int
    marks: list[Mark]
    complete: bool
    first: bool


class NotStampedError(Exception):
    """Stamps are missing or do not rise: frames must be counted."""


class BrokenError(Exception):
    """A frame could not be decoded as the file has it."""


class MovedError(Exception):
    """A container was sought at the same place twice and came to two different ones."""


@dataclass
class VideoFile:
    """The first video track of a file that is no cover picture.

    Attributes:
        path: of the file.
        threads: that decode; 0 = as many as there are cores, 8 at most.
        notes: what a viewer should know, in sentences.
        tolerant: whether frames that cannot be decoded are left out; else `BrokenError` is raised.

    Raises:
        InputError: the file is no video.
    """

    path: Path
    threads: int = 0
    notes: list[str] = field(default_factory=list)
    tolerant: bool = False

    def __post_init__(self) -> None:
        self.reopen()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def reopen(self) -> None:
        """Goes to the beginning: the one place that every container finds."""
        if hasattr(self, "container"):
            self.container.close()
        self.container, self.stream = open_track(self.path)
        context = self.stream.codec_context
        context.thread_count = self.threads or min(os.cpu_count() or 1, MAX_THREADS)
        context.thread_type = "AUTO" if context.thread_count > 1 else "NONE"
        context.options = {"max_pixels": str(MAX_PIXELS)}
        if self._needs_first_packet:
            self._show_first_packet()

    @property
    def _needs_first_packet(self) -> bool:
        """Whether frames in the middle come out right only if the decoder has seen the beginning.

        x264 before build 151 wrote 4:4:4 in a way of its own, and its build is in the first packet.
        """
        context = self.stream.codec_context
        return context.name == "h264" and (context.pix_fmt or "").startswith("yuv444")

    def _show_first_packet(self) -> None:
        from av.error import FFmpegError

        container, stream = open_track(self.path)
        with container, suppress(FFmpegError, StopIteration):
            self.stream.codec_context.decode(next(container.demux(stream)))
        self.stream.codec_context.flush_buffers()

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return self.container.format.name

    @property
    def reorders(self) -> bool:
        """Whether frames may be shown in another order than they are stored in."""
        return bool(self.stream.codec_context.has_b_frames)

    @property
    def indexed(self) -> bool:
        """Whether the container's own tables are used to seek."""
        return self.format.startswith(INDEXED)

    @property
    def nominal_rate(self) -> float:
        """Frames per second by the container's word; 25 where it says nothing sensible."""
        stream = self.stream
        rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        if self.format in RAW | {"asf"}:  # a default, and rounded to milliseconds
            rates = rates[1:]
        return next((float(r) for r in rates if r and 0.01 <= r <= 1000), 25.0)

    @property
    def aspect(self) -> float:
        """Of a pixel, width over height."""
        ratio = self.stream.sample_aspect_ratio
        return float(ratio) if ratio and 0.05 < ratio < 20 else 1.0

    def cropped(self, frame: VideoFrame, wish: Wish) -> np.ndarray:
        """A decoded frame as it is wanted."""
        return wish.crop(upright(frame, self.aspect, wish.short_side))

    def entries(self) -> IndexEntries | None:
        """One entry for each packet, in their order; None where the container has no such table."""
        entries = self.stream.index_entries
        return entries if self.format == "avi" and len(entries) > 1 else None

    def stamps_rise(self) -> bool:
        """Whether a large file without a table can be sought by its stamps.

        A small one is walked through, which is safe. In a large one they must rise from place to
        place, which they do not where recordings were put one behind the other.
        """
        size = self.path.stat().st_size
        if size <= WALKED_BYTES or not self.format.startswith(SOUGHT):
            return False
        from av.error import FFmpegError

        stamps = []
        for i in range(PLACES):
            try:
                self.container.seek(i * size // PLACES, unsupported_byte_offset=True)
            except FFmpegError:
                return False
            mark = next((mark for mark in self.marks() if mark.dts is not None), None)
            stamps.append(mark.dts if mark else None)
        return None not in stamps and all(a < b for a, b in pairwise(stamps))

    def check_length(self, seconds: float) -> None:
        """Says that the file is cut off, where its track ends long before it should."""
        if self.declared_seconds - seconds > max(0.5, 0.02 * seconds):
            self.note(CUT_OFF)

    @property
    def declared_seconds(self) -> float:
        """How long the track is by the file's word; 0 where it says nothing of this track."""
        import av

        tagged = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", self.stream.metadata.get("DURATION", ""))
        if tagged:
            hours, minutes, seconds = map(float, tagged.groups())
            return 3600 * hours + 60 * minutes + seconds
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        alone = len(self.container.streams) == 1
        return (self.container.duration or 0) / av.time_base if alone else 0.0

    def past_the_end(self, lasts: float, start: float) -> InputError:
        """What is said of a start at which no frame is on screen."""
        cut = ", as it is cut off" * (CUT_OFF in self.notes)
        name = self.path.name
        return InputError(f"{name} lasts {lasts:.2f} s{cut}: start before that, not at {start} s.")

    def note(self, sentence: str) -> None:
        """Says something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def packets(self) -> Iterator[Packet]:
        """From here to the end, or to where the file is cut off."""
        from av.error import FFmpegError

        try:
            for packet in self.container.demux(self.stream):
                if packet.is_corrupt and not self.format.startswith(STREAMED):
                    self.note(CUT_OFF)
                elif packet.size:
                    yield packet
        except FFmpegError:
            self.note(CUT_OFF)

    def seek(self, stamp: int | None) -> None:
        """Goes to the last key frame at or before a stamp, or near it; None: the beginning."""
        if stamp is None:
            self.reopen()
        else:
            self.container.seek(stamp, stream=self.stream)

    def marks(self) -> Iterator[Mark]:
        """What the container says of the packets from here on."""
        raw, guessed = self.format in RAW, self.format == "avi"  # has no stamps of when to show
        for count, p in enumerate(self.packets()):
            if count > MAX_MARKS:
                raise InputError(f"{self.path.name} has too many frames: cut it into pieces.")
            pts = None if raw or (guessed and p.pts != p.dts) else p.pts
            yield Mark(pts, p.dts, p.duration or 0, p.is_keyframe, p.is_discard)

    def decode(self, stretch: Stretch, wanted: set[int] | None = None) -> Iterator[VideoFrame]:
        """The frames of a stretch in the order in which they are shown.

        Args:
            stretch: begins where decoding can begin.
            wanted: stamps of the frames that are needed. Others are left out where none of these
                depends on them: by the decoder, and by going on to a later key frame. None: all.

        Raises:
            BrokenError: a frame cannot be decoded, and the file is not to be tolerant.
            MovedError: the container does not find the stretch again, or a key frame is none.
        """
        self.seek(stretch.seek)
        packets = self.packets()
        for _ in range(stretch.skip):
            next(packets, None)
        numbered = enumerate(zip(stretch.marks, packets, strict=False))
        for run in runs(stretch.marks, wanted):
            frames = self._decode_run(numbered, run, wanted)
            for count, frame in enumerate(frames):
                if count == 0 and run.start and not is_key(frame):
                    raise MovedError
                yield frame
            self.stream.codec_context.flush_buffers()

    def decode_any(self) -> Iterator[VideoFrame]:
        """The frames from the beginning of the file, whatever it begins with."""
        self.seek(None)
        self.stream.codec_context.skip_frame = "DEFAULT"
        for packet in self.packets():
            yield from self.whole_frames(packet)
        yield from self.whole_frames(None)

    def _decode_run(
        self, numbered: Iterator[tuple[int, tuple[Mark, Packet]]], run: range, wanted: set | None
    ) -> Iterator[VideoFrame]:
        context = self.stream.codec_context
        for i, (mark, packet) in numbered:
            if packet.dts != mark.dts:
                raise MovedError
            if i in run:
                needed = wanted is None or mark.key or mark.pts in wanted
                context.skip_frame = "DEFAULT" if needed else "NONREF"
                yield from self.whole_frames(packet)
            if i >= run.stop - 1:
                break
        yield from self.whole_frames(None)

    def whole_frames(self, packet: Packet | None, count_all: bool = False) -> Iterator[VideoFrame]:
        """The frames that a packet brings out, None the last ones; those that are whole.

        Args:
            packet: the next one; None: there is none.
            count_all: also those that are not, because frames are counted.
        """
        from av.error import FFmpegError

        try:
            frames = self.stream.codec_context.decode(packet)
        except FFmpegError as error:
            if not self.tolerant:
                raise BrokenError from error
            self.note(CUT_OFF)
            return
        for frame in frames:
            if count_all or not frame.is_corrupt:
                if is_hdr(frame):
                    self.note(HDR)
                yield frame
            elif not self.tolerant:
                raise BrokenError
            else:
                self.note(CUT_OFF)


def runs(marks: list[Mark], wanted: set[int] | None) -> list[range]:
    """Which packets must be decoded, in runs that each begin with a key frame.

    Args:
        marks: of the packets; the first is of a key frame.
        wanted: stamps of the frames that are needed; None: all.
    """
    if wanted is None:
        return [range(len(marks))]
    keys = [i for i, mark in enumerate(marks) if mark.key and not mark.hidden]
    stamps = [marks[i].pts for i in keys]
    found: list[range] = []
    for i in sorted(i for i, mark in enumerate(marks) if mark.pts in wanted):
        before = bisect_right(stamps, marks[i].pts) - 1
        begin = keys[before] if before >= 0 else 0
        if found and begin < found[-1].stop:
            found[-1] = range(found[-1].start, i + 1)
        else:
            found.append(range(begin if found else 0, i + 1))
    return found


def is_key(frame: VideoFrame) -> bool:
    """Whether a frame shows that decoding could begin with it."""
    return bool(frame.key_frame) or frame.pict_type == 1  # I


PLAYLISTS = {"concat", "dash", "hls", "image2", "imf", "lavfi", "rtsp", "sdp", "tedcaptions"}
"""Formats that name other files or addresses: a file that is read must not open a second one."""


def open_track(path: Path) -> tuple[InputContainer, VideoStream]:
    """Opens a file and finds the video track that a player would show.

    Raises:
        InputError: it is no video, or holds none.
    """
    import av
    from av.stream import Discard

    try:  # absolute: in a relative name, FFmpeg takes what is before a colon for a protocol
        container = av.open(
            str(path.absolute()),
            metadata_errors="replace",
            options={"format_whitelist": _formats(), "protocol_whitelist": "file"},
        )
    except Exception as error:  # it raises a different class for each way a file can be bad
        raise InputError(
            f"{path.name} is no video that can be read: choose an mp4, webm, avi, gif or image."
        ) from error
    stream = _track(container)
    if stream is None:
        container.close()
        raise InputError(f"{path.name} holds no pictures, only sound or data: choose a video.")
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return container, stream


def _track(container: InputContainer) -> VideoStream | None:
    """The best video track by FFmpeg's rule; never a cover picture or one without a decoder."""
    from av.stream import Disposition

    def moving(stream: VideoStream) -> bool:
        cover = Disposition.attached_pic | Disposition.timed_thumbnails
        return stream.codec_context is not None and not stream.disposition & cover

    best = container.streams.best("video")
    tracks = [best, *container.streams.video] if best is not None else container.streams.video
    return next(filter(moving, tracks), None)


@lru_cache(maxsize=1)
def _formats() -> str:
    """FFmpeg's formats but for those that name other files."""
    from av.format import formats_available

    return ",".join(sorted(formats_available - PLAYLISTS))
