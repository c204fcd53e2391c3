"""Videos of many kinds, made with PyAV: every frame shows its number and where its corners are."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 9
COLOURS = {"tl": (200, 50, 50), "tr": (50, 180, 60), "bl": (60, 70, 200), "br": (200, 190, 60)}

ENCODERS = {
    "h264": ("libx264", {"preset": "veryfast", "g": "24"}),
    "h264-without-b": ("libx264", {"preset": "veryfast", "g": "24", "bf": "0"}),
    "h264-open": (
        "libx264",
        {"x264-params": "open-gop=1:keyint=24:bframes=3:b-adapt=0:scenecut=0"},
    ),
    "h264-refresh": ("libx264", {"x264-params": "intra-refresh=1:keyint=40:bframes=0"}),
    "hevc-open": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=0:keyint=24"}),
    "hevc-closed": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "log-level=0:keyint=24:open-gop=0"},
    ),
    "mpeg4-b": ("mpeg4", {"bf": "2", "g": "24", "b": "2M"}),
    "mpeg4": ("mpeg4", {"g": "24", "b": "2M"}),
    "mpeg1-b": ("mpeg1video", {"bf": "2", "b": "2M"}),
    "mpeg2-b": ("mpeg2video", {"bf": "2", "b": "2M"}),
    "vp8": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "40", "b": "1M"}),
    "vp9": ("libvpx-vp9", {"lag-in-frames": "16", "g": "40", "cpu-used": "8", "b": "1M"}),
    "av1": ("libsvtav1", {"preset": "12", "g": "40"}),
    "mjpeg": ("mjpeg", {"b": "4M"}),
    "ffv1": ("ffv1", {}),
    "wmv2": ("wmv2", {"b": "2M"}),
    "flv1": ("flv", {"b": "2M"}),
    "prores": ("prores_ks", {}),
}
PIXELS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}


def painted(count: int, height: int = 96, width: int = 144) -> np.ndarray:
    """Four coloured quarters, and in the middle a strip of blocks that counts: (T, H, W, 3)."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    top, left = np.s_[: height // 2], np.s_[: width // 2]
    bottom, right = np.s_[height // 2 :], np.s_[width // 2 :]
    for rows, columns, name in (
        (top, left, "tl"),
        (top, right, "tr"),
        (bottom, left, "bl"),
        (bottom, right, "br"),
    ):
        frames[:, rows, columns] = COLOURS[name]
    side = min(height, width)
    x, y, block = (width - side) // 2, (height - side) // 2, side // BITS
    strip = np.s_[y + side // 4 - block // 2 : y + side // 4 + block // 2]
    bits = (np.arange(count)[:, None] >> np.arange(BITS) & 1) * 255
    for b in range(BITS):
        columns = np.s_[x + b * side // BITS : x + (b + 1) * side // BITS]
        frames[:, strip, columns] = bits[:, b, None, None, None]
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers that square frames show."""
    side = frames.shape[1]
    rows = frames[:, side // 4 - 1 : side // 4 + 2].mean((1, 3))
    starts = [int((b + 0.3) * side / BITS) for b in range(BITS)]
    ends = [int((b + 0.7) * side / BITS) + 1 for b in range(BITS)]
    bits = np.stack([rows[:, i:j].mean(1) > 128 for i, j in zip(starts, ends, strict=True)], axis=1)
    return (bits << np.arange(BITS)).sum(1).tolist()


def corners(frame: np.ndarray) -> str:
    """Which corner of `painted` is seen top left, top right, bottom left and bottom right."""
    at = frame.shape[0] // 16
    seen = [frame[at, at], frame[at, -at], frame[-at, at], frame[-at, -at]]

    def nearest(colour: np.ndarray) -> str:
        return min(COLOURS, key=lambda name: np.abs(colour.astype(int) - COLOURS[name]).sum())

    return " ".join(map(nearest, seen))


def encode(
    path: Path,
    frames: np.ndarray,
    kind: str = "h264",
    fps: float = 30,
    milliseconds: list[int] | None = None,
    format: str | None = None,
    **options: str,
) -> Path:
    """Writes frames (T, H, W, 3) with an encoder of `ENCODERS`.

    Args:
        path: of the file; its suffix is the container, unless `format` names it.
        frames: RGB.
        kind: of the encoder.
        fps: frames per second.
        milliseconds: when each frame is shown, where not at a constant rate.
        format: FFmpeg's name of the container.
        options: of the container.
    """
    encoder, settings = ENCODERS[kind]
    with av.open(str(path), "w", format=format, options=options) as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream(encoder, rate=rate, options=settings)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = PIXELS.get(kind, "yuv420p")
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def trimmed(source: Path, target: Path, begin: int) -> Path:
    """The packets of a file from the last key frame before frame `begin`, which is shown first."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        offset = int(begin / stream.average_rate / stream.time_base)
        old.seek(offset, stream=stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                packet.stream = copy
                new.mux(packet)
    return target


def with_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    """Writes a display matrix (a, b, c, d) into an mp4's track header."""
    data = bytearray(path.read_bytes())
    box = data.index(b"tkhd") + 4
    at = box + (24 if data[box] == 0 else 36) + 16
    a, b, c, d = (value * 65536 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def without_key(path: Path, place: int) -> Path:
    """Leaves a key frame out of an mp4's table of them."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stss") + 8
    count = struct.unpack_from(">I", data, at)[0]
    keys = list(struct.unpack_from(f">{count}I", data, at + 4))
    keys.pop(place)
    struct.pack_into(f">{count}I", data, at, count - 1, *keys)
    path.write_bytes(data)
    return path
