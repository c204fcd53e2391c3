"""What a server in public is sent: wrong files, links, masks and checkpoints, by the hundred.

Files are made by mutation of good ones and by construction: tables that lie, bombs, other formats
under a video's name. All is drawn from a generator that the caller hands in.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from painted import encode, painted
from PIL import Image

LIES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**6, 10**8)
"""What a count or a size can claim."""
TABLES = (b"stts", b"stsz", b"stsc", b"stco", b"stss", b"ctts", b"elst", b"mdhd", b"mvhd", b"tkhd")
BOXES = (*TABLES, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1", b"avcC", b"mdat")
SECRET = "/etc/passwd"


def good_files(folder: Path) -> dict[str, bytes]:
    """Short clips in many containers, by name."""
    frames = painted(24, 48, 64)
    videos = {"mp4": "h264", "mkv": "h264", "webm": "vp8", "avi": "mpeg4", "ts": "mpeg2-b"}
    files = {
        f"good.{suffix}": encode(folder / f"good.{suffix}", frames, kind).read_bytes()
        for suffix, kind in (videos | {"mov": "mjpeg", "flv": "flv1", "wmv": "wmv2"}).items()
    }
    pictures = [Image.fromarray(frame) for frame in frames[:8]]
    for suffix in ("png", "gif", "jpg", "webp", "tiff", "bmp"):
        buffer, several = io.BytesIO(), suffix in ("png", "gif", "webp", "tiff")
        kind = {"jpg": "jpeg"}.get(suffix, suffix)
        more = {"save_all": True, "append_images": pictures[1:]} if several else {}
        pictures[0].save(buffer, kind, **more)
        files[f"good.{suffix}"] = buffer.getvalue()
    return files


# ---- by mutation


def truncated(data: bytes, random: Generator) -> bytes:
    """The first part alone."""
    return data[: int(random.integers(1, len(data)))]


def flipped(data: bytes, random: Generator) -> bytes:
    """Some bytes are others."""
    changed = np.frombuffer(data, np.uint8).copy()
    places = random.integers(0, len(data), int(random.integers(1, 64)))
    changed[places] = random.integers(0, 256, len(places))
    return changed.tobytes()


def flipped_head(data: bytes, random: Generator) -> bytes:
    """The same where headers are."""
    return flipped(data[:600], random) + data[600:]


def blanked(data: bytes, random: Generator) -> bytes:
    """A stretch is all zeros or all ones."""
    begin = int(random.integers(0, len(data)))
    end = min(len(data), begin + int(random.integers(1, 4000)))
    return data[:begin] + bytes([int(random.choice((0, 255)))]) * (end - begin) + data[end:]


def doubled(data: bytes, random: Generator) -> bytes:
    """A stretch stands there twice."""
    begin, end = sorted(int(place) for place in random.integers(0, len(data), 2))
    return data[:end] + data[begin:end] + data[end:]


def lying(data: bytes, random: Generator) -> bytes:
    """A box of an mp4 claims another size or count; other containers lie somewhere."""
    found = [name for name in BOXES if name in data]
    place = data.index(found[random.integers(len(found))]) if found else 4
    place += int(random.choice((-4, 8, 12, 16))) if found else int(random.integers(len(data) - 9))
    return data[:place] + struct.pack(">I", int(random.choice(LIES))) + data[place + 4 :]


MUTATIONS: tuple[Callable[[bytes, Generator], bytes], ...] = (
    *(truncated, flipped, flipped_head, blanked, doubled, lying, lying),
)


# ---- by construction


def with_table(data: bytes, table: bytes, *numbers: int) -> bytes:
    """An mp4 whose table begins with these numbers: its count, its first entry."""
    place = data.index(table) + 8
    packed = struct.pack(f">{len(numbers)}I", *numbers)
    return data[:place] + packed + data[place + len(packed) :]


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that claims these sizes, one bit a pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def nested_boxes(depth: int) -> bytes:
    """An mp4 of boxes in boxes."""
    data = b""
    for _ in range(depth):
        data = struct.pack(">I", len(data) + 8) + b"moov" + data
    return struct.pack(">I", 16) + b"ftypisom" + bytes(4) + data


def archive() -> bytes:
    """A zip of many zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(10**7))
    return buffer.getvalue()


def gif_of_sizes(width: int, height: int) -> bytes:
    """A GIF that claims these sizes and has one pixel."""
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00" + bytes(6)
    picture = b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\x00\x02\x02D\x01\x00;"
    return head + picture


def playlists() -> dict[str, bytes]:
    """Texts that name other files: a reader that follows them tells what is on the server."""
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{SECRET}\n#EXT-X-ENDLIST\n"
    sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"
    return {
        "list.mp4": hls.encode(),
        "list.ts": hls.replace(f"file://{SECRET}", "http://127.0.0.1:9/x.ts").encode(),
        "concat.mkv": f"ffconcat version 1.0\nfile {SECRET}\n".encode(),
        "session.mp4": sdp.encode(),
        "drawing.png": f'<svg xmlns="http://www.w3.org/2000/svg" href="{SECRET}"/>'.encode(),
        "page.webm": b"<!DOCTYPE html><script>alert(1)</script>",
    }


def constructed(good: dict[str, bytes]) -> dict[str, bytes]:
    """Files whose parts contradict each other, by name."""
    mp4 = good["good.mp4"]
    files = {
        "empty.mp4": b"",
        "byte.png": b"\x89",
        "zeros.mov": bytes(10_000),
        "ones.avi": b"\xff" * 10_000,
        "noise.webm": np.random.default_rng(0).bytes(50_000),
        "archive.mp4": archive(),
        "nested.mp4": nested_boxes(3_000),
        "claims.png": png(60_000, 60_000),
        "flat.png": png(13_000, 13_000, bytes(13_000 * (13_000 // 8 + 1))),
        "thin.png": png(1, 2**31 - 1),
        "nothing.png": png(0, 0),
        "claims.gif": gif_of_sizes(65_535, 65_535),
        "nothing.gif": gif_of_sizes(0, 0),
        "header.jpg": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x11\x00\x02\x11\x00",
        "header.avi": b"RIFF" + struct.pack("<I", 2**31) + b"AVI LIST" + bytes(200),
        "header.mkv": b"\x1a\x45\xdf\xa3" + b"\xff" * 64,
        "other.mp4": good["good.png"],
        "other.png": mp4,
        "two.mp4": mp4 + mp4,
        "moov.mp4": mp4.replace(b"moov", b"free"),
        "mdat.mp4": mp4.replace(b"mdat", b"free"),
    }
    files |= {
        f"{table.decode()}-{count}-{first}.mp4": with_table(mp4, table, count, first)
        for table in TABLES[:6]
        if table in mp4
        for count, first in ((1, 0x7FFFFFFF), (0x7FFFFFFF, 1), (0xFFFFFFFF, 0xFFFFFFFF), (0, 0))
    }
    return files | playlists()


NAMES = (
    "../../../etc/passwd.mp4",
    "x" * 5000 + ".mp4",
    "\u202egpj.4pm.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "[link](javascript:alert(1)).mp4",
    "%d.png",
    "file:concat|.mp4",
    ".mp4",
    "-i.mp4",
    "a b\tc.mp4",
    "NUL.mp4",
    "ﷺ" * 90 + ".mp4",
)
"""Of files."""


def bad_files(good: dict[str, bytes], random: Generator) -> Iterator[tuple[str, bytes]]:
    """Names and contents: first what is constructed, then mutants without an end."""
    yield from constructed(good).items()
    number = 0
    while True:
        name = sorted(good)[random.integers(len(good))]
        change = MUTATIONS[random.integers(len(MUTATIONS))]
        suffix = name.rpartition(".")[2]
        called = NAMES[number % len(NAMES)] if number % 8 == 7 else f"mutant{number}.{suffix}"
        yield called, change(good[name], random)
        number += 1
