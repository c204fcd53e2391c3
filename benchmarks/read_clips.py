"""Is reading clips as fast as decord itself? `python benchmarks/read_clips.py`.

Compares `vjepa.read_frames` with the plain way: decord's `get_batch` of the same frames, then crop
and resize. The two take turns, from the bundled clips and from larger videos made for this. Prints
one JSON object: the ratio of median times (over 1: ours is faster), video by video and in all, and
whether our reader ever asks for a frame again or goes back to an earlier one: decord decodes from
the last key frame when it must go back, and only then is a frame decoded twice.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

import vjepa
from vjepa.data.clips import DEFAULT_FPS as FPS
from vjepa.data.clips import bundled_clips, decode, frame_indices, open_video, square

IMAGE_SIZE, NUM_FRAMES, REPEATS = 224, 16, 15
SIZES = ((360, 640), (720, 1280))


class Recorder:
    """A decord reader that notes which frames are asked for."""

    def __init__(self, reader) -> None:
        self.reader, self.asked = reader, []

    def __getitem__(self, i: int):
        self.asked.append(i)
        return self.reader[i]


def make_video(folder: Path, height: int, width: int, seconds: int = 10) -> Path:
    """A moving texture as H.264 at 30 fps, with the key frames and B-frames of x264's defaults."""
    path = folder / f"{width}x{height}.mp4"
    texture = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    picture = texture.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for i in range(30 * seconds):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 3 * i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def plain(path: Path) -> np.ndarray:
    """What one would write first."""
    import decord

    reader = decord.VideoReader(str(path))
    frames = reader.get_batch(indices_of(reader)).asnumpy()
    return np.stack([square(frame, IMAGE_SIZE) for frame in frames])


def ours(path: Path) -> np.ndarray:
    """The project's way."""
    return vjepa.read_frames(path, IMAGE_SIZE, NUM_FRAMES)


def indices_of(reader) -> list[int]:
    """The frames of a clip from the start of a video."""
    return frame_indices(len(reader), reader.get_avg_fps(), NUM_FRAMES, 0, FPS)


def milliseconds(read: Callable, path: Path) -> float:
    """Of one call."""
    start = time.perf_counter()
    read(path)
    return 1000 * (time.perf_counter() - start)


def compare(path: Path) -> dict:
    """Median times of both ways, in turns."""
    if not np.array_equal(plain(path), ours(path)):  # also warms up
        raise AssertionError(f"{path.name}: the two ways read different pixels")
    times = [(milliseconds(plain, path), milliseconds(ours, path)) for _ in range(REPEATS)]
    plain_ms, ours_ms = map(statistics.median, zip(*times, strict=True))
    return {"plain_ms": plain_ms, "ours_ms": ours_ms, "ratio": plain_ms / ours_ms}


def order(path: Path) -> tuple[int, int]:
    """How often a frame is asked for again, and how often an earlier one than the last."""
    reader = Recorder(open_video(path))
    decode(reader, path.name, indices_of(reader.reader), lambda frame: frame)
    again = len(reader.asked) - len(set(reader.asked))
    return again, int((np.diff(reader.asked) < 0).sum())


def main() -> None:
    """Measures all videos and prints the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        made = [make_video(Path(folder), *size) for size in SIZES]
        videos = [*bundled_clips().values(), *made]
        rows = {path.stem: compare(path) for path in videos}
        again, back = np.sum([order(path) for path in videos], axis=0)
    rounded = {name: {k: round(v, 2) for k, v in row.items()} for name, row in rows.items()}
    ratio = round(statistics.median(row["ratio"] for row in rows.values()), 2)
    counts = {"frames_asked_again": int(again), "steps_back": int(back)}
    print(json.dumps({"videos": rounded, "ratio": ratio, **counts}))


if __name__ == "__main__":
    main()
