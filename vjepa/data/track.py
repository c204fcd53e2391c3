"""A file is opened and its video track found, whatever else is in it and whatever it is called."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vjepa.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

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
