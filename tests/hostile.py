"""What a server in public is sent: wrong files, links, masks and checkpoints, by the hundred.

Files are made by mutation of good ones and by construction: tables that lie, bombs, other formats
under a video's name. All is drawn from a generator that the caller hands in.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

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


# ---- links

WORDS = (
    *("", "-1", "1e999", "nan", "inf", "0x10", "9" * 5000, "1_0", "true", "[]", '{"a": 1}', "null"),
    *("../../etc", "<script>", "\x00", "\u202e", "😀", "demo\n", "e" * 20_000, "%s%n", "1;2", "."),
)
"""What a part of a link can be."""
CLIPS = (
    *(
        "world-",
        "world--1",
        "world-99999999999",
        "world-1e3",
        "world-٣",
        "bundled-",
        "bundled-../x",
    ),
    *("upload-", "upload-0123456789ab", "bundled-cup_tilt_zoom/", "-", "video-1", "world-1-2"),
)
BOMB = base64.urlsafe_b64encode(zlib.compress(bytes(10**7), 9)).decode()
MASKS = (
    *("8x7x7.", "8x7x7.!!!!", "8x7x7.AAAA", "8x7x7.eJw", "0x0x0.", "-1x7x7.eJw", "8x7x7"),
    *("99999999x99999999x99999999.eJwDAAAAAAE", "8x7x7." + BOMB, "2x2x2.eJxjAAAAAQAB", ".", "x.x"),
)
MODELS = ("", "Demo", "demo/", "vitl16x", "/etc/passwd", "https://example.com/x.pth", "demo\x00")
PARTS = {
    "model": MODELS,
    "clip": CLIPS,
    "mask": MASKS,
    "select": MASKS,
    "frames": ("4096", "7", "-8", "1e1"),
    "fps": ("0", "61", ".1", "nan"),
    "steps": ("0", "5"),
    "start": ("-1", "1e9", "nan"),
    "token": ("2", "-1", "1e9"),
    "seed": ("-1", "1.5"),
    "view": (),
    "errors": (),
}


def bad_links(random: Generator) -> Iterator[str]:
    """Queries, without an end: one to four parts that mean nothing."""
    while True:
        names = random.choice(list(PARTS), int(random.integers(1, 5)), replace=False)
        query = {}
        for name in names:
            words = (*PARTS[name], *WORDS)
            query[str(name)] = words[random.integers(len(words))]
        yield urlencode(query)


# ---- what components are told

BITS = ("", "!!!", "AAAA", "é", "A" * 10**6, 7, None, [], {}, True, 1e300)
NESTED = "[" * 100 + "]" * 100


def bad_strokes(clip: str, rev: int, random: Generator) -> Iterator[tuple[str, str]]:
    """Names of components, and the JSON that comes as if from them, without an end.

    What is no JSON is left out: Streamlit reads it before any code of ours.
    """
    whole = {"clip": clip, "rev": rev, "bits": "AAAA", "id": "x", "tokens": [1]}
    while True:
        name, word = (("painter", "mask"), ("views", "pick"), ("picker", "pick"))[
            random.integers(3)
        ]
        told = dict(whole)
        key = str(random.choice(list(whole)))
        wrong = (*BITS, ["x"], [None], [-1, 2**70], {"a": [1]}, "nothing")
        told[key] = wrong[random.integers(len(wrong))]
        if random.random() < 0.3:
            del told[str(random.choice(list(whole)))]
        texts = ("null", "[]", "7", '"x"', NESTED, json.dumps({word: told.get(key)}))
        well = json.dumps({word: told})
        text = well if random.random() < 0.6 else texts[random.integers(len(texts))]
        if name == "picker" and random.random() < 0.8:
            text = json.dumps([{"event": "pick", "value": wrong[random.integers(len(wrong))]}])
        yield name, text


# ---- checkpoints

SIZES = ("embed_dim", "depth", "num_heads", "patch_size", "image_size", "num_frames")
VALUES = (0, -1, 10**9, 10**30, 1.5, "64", None, [], True, {"a": 1}, "x" * 10_000)
CONFIGS = (b"", b"{", b"[]", b"7", b"\xff\xfe\x00", b"[" * 100_000, b'{"embed_dim": 1e400}', b"NaN")
PATHS = (
    *("/dev/null", "/dev/zero", "/dev/urandom", "/proc/self/mem", "/proc/self/environ", "/", "."),
    *("..", "~", "~nobody/x", "\x00", "a" * 5_000, "/" + "a/" * 3_000, "https://example.com/x.pth"),
    *("/etc/passwd", "demo/../demo", "\\\\server\\share", "C:\\model.pth", "-", "*", "${HOME}"),
)


class Runs:
    """A pickle that runs code where it is let.

    Args:
        marker: a file that is there then.
    """

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def bad_checkpoints(good: Path, folder: Path, random: Generator) -> Iterator[str]:
    """Paths of files and folders that are no models, or wrong ones, without an end.

    Args:
        good: a folder with config.json and model.safetensors.
        folder: where they are made; a file "ran" is there if code of theirs ran.
        random: draws them.
    """
    yield from PATHS
    yield from map(str, special_files(folder))
    for number in count():
        path = folder / f"checkpoint{number}"
        if number % 3 == 0:
            path = path.with_suffix((".pth", ".pt", ".safetensors")[random.integers(3)])
            change = MUTATIONS[random.integers(len(MUTATIONS))]
            path.write_bytes(change((good / "model.safetensors").read_bytes(), random))
        else:
            shutil.copytree(good, path)
            config = path / "config.json"
            config.write_bytes(bad_config(config.read_bytes(), random))
        yield str(path)


def special_files(folder: Path) -> list[Path]:
    """What is no ordinary file, and what runs code."""
    pipe, loop, ran, zip_ = (folder / name for name in ("pipe", "loop", "runs.pth", "zip.pth"))
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    ran.write_bytes(pickle.dumps({"encoder": Runs(folder / "ran"), "predictor": {}}))
    zip_.write_bytes(archive())
    return [pipe, loop, ran, zip_]


def bad_config(good: bytes, random: Generator) -> bytes:
    """A config.json with a value that cannot be, or that is none."""
    if random.random() < 0.4:
        return CONFIGS[random.integers(len(CONFIGS))]
    value = VALUES[random.integers(len(VALUES))]
    return json.dumps(json.loads(good) | {str(random.choice(SIZES)): value}).encode()
