"""Is reading clips as fast as decord itself? `python benchmarks/read_clips.py [FOLDER]`.

Compares `vjepa.read_frames` with the plain way, decord's `get_batch` of the same frames and then
crop and resize, for 16 frames from random places: in the bundled clips and in videos made for this,
one for each codec and size; or in the videos of a folder. The two take turns, with a third, the
same clip from a pack of the video (`python -m vjepa pack`), and torchcodec where it is installed.
Videos that decord reads wrongly are said to be so and do not count. Prints one JSON object: ratios
of median times (over 1: ours is faster) by video, by codec and in all; and how many times as fast
as ours and as decord on the video itself the pack is.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from vjepa.data.clips import DEFAULT_FPS as FPS
from vjepa.data.clips import bundled_clips, find_videos, read_frames, square
from vjepa.data.pack import pack_video
from vjepa.reading.packed import MARK, import_decord
from vjepa.reading.timing import frame_indices

IMAGE_SIZE, NUM_FRAMES, PLACES, ROUNDS = 224, 16, 5, 3
SIZES = ((256, 340), (360, 640), (720, 1280))
CODECS = {
    "h264": ("libx264", "mp4", {"preset": "veryfast"}),
    "hevc": ("libx265", "mp4", {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=0"}),
    "vp9": ("libvpx-vp9", "webm", {"cpu-used": "8", "deadline": "realtime", "b": "1M"}),
    "mpeg4": ("mpeg4", "mp4", {"q": "4", "flags": "+qscale"}),
}
CLOSE = 12
"""Mean difference of two ways' pixels (of 255) above which they read different frames."""


def make_video(folder: Path, codec: str, height: int, width: int, seconds: int = 10) -> Path:
    """A moving texture at 30 fps, with the key frames of the encoder's defaults."""
    encoder, suffix, options = CODECS[codec]
    path = folder / f"{codec}-{width}x{height}.{suffix}"
    texture = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8 + 1, 3), np.uint8)
    picture = texture.repeat(8, axis=0).repeat(8, axis=1)[:, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = picture.shape[0], width, "yuv420p"
        for i in range(30 * seconds):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 3 * i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def plain(path: Path, start: float) -> np.ndarray:
    """What one would write first."""
    reader = import_decord().VideoReader(str(path))
    rate = reader.get_avg_fps()
    indices = frame_indices(len(reader), rate, NUM_FRAMES, int(start * rate + 1e-2), FPS)
    return np.stack([square(f, IMAGE_SIZE) for f in reader.get_batch(indices).asnumpy()])


def torchcodec(path: Path, start: float) -> np.ndarray:
    """The same with torchcodec."""
    from torchcodec.decoders import VideoDecoder

    reader = VideoDecoder(str(path), dimension_order="NHWC")
    rate, count = reader.metadata.average_fps, reader.metadata.num_frames
    indices = frame_indices(count, rate, NUM_FRAMES, int(start * rate + 1e-2), FPS)
    return np.stack([square(f, IMAGE_SIZE) for f in reader.get_frames_at(indices).data.numpy()])


def ours(path: Path, start: float) -> np.ndarray:
    """The project's way."""
    return read_frames(path, IMAGE_SIZE, NUM_FRAMES, start=start)


WAYS = {"ours": ours, "decord": plain}
if importlib.util.find_spec("torchcodec"):
    WAYS["torchcodec"] = torchcodec


def milliseconds(read: Callable, path: Path, start: float) -> float:
    """Of one call."""
    begin = time.perf_counter()
    read(path, start)
    return 1000 * (time.perf_counter() - begin)


def compare(path: Path, packs: Path) -> dict:
    """Median times of all ways, in turns, from the same random places; or that decord is wrong."""
    pack = packs / f"{path.stem}.mp4"
    pack_video(path, pack)
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context.name
        latest = max(0.0, (container.duration or 0) / 1e6 - NUM_FRAMES / FPS)
    starts = np.random.default_rng(0).uniform(0, latest, PLACES).tolist()
    if not all(_agree(path, start) for start in starts):  # also warms up
        return {"codec": codec, "decord": "wrong or refused"}
    times = defaultdict(list)
    for start in starts * ROUNDS:
        for name, read in (WAYS | {"pack": ours}).items():
            try:
                times[name].append(milliseconds(read, pack if name == "pack" else path, start))
            except Exception:  # decord's threads race, on good files too
                return {"codec": codec, name: "fails now and then"}
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {f"ratio_{n}": medians[n] / medians["ours"] for n in WAYS if n != "ours"}
    ratios |= {f"pack_to_{n}": medians[n] / medians["pack"] for n in WAYS}
    return {"codec": codec} | {f"{n}_ms": ms for n, ms in medians.items()} | ratios


def _agree(path: Path, start: float) -> bool:
    """Whether all ways read the same frames, up to how they make pixels of them."""
    try:
        read = [way(path, start).astype(int) for way in WAYS.values()]
    except Exception:  # decord raises what it likes
        return False
    return all(np.abs(read[0] - other).mean() < CLOSE for other in read[1:])


def main() -> None:
    """Measures all videos and prints the ratios."""
    logging.getLogger("vjepa").setLevel(logging.ERROR)
    import_decord().logging.set_level(import_decord().logging.QUIET)
    with tempfile.TemporaryDirectory() as folder:
        packs = Path(folder) / "packs"
        packs.mkdir()
        (packs / MARK).touch()
        rows = {path.name: compare(path, packs) for path in _videos(Path(folder))}
    counted = [row for row in rows.values() if "ratio_decord" in row]
    by_codec = defaultdict(list)
    for row in counted:
        by_codec[row["codec"]].append(row["ratio_decord"])
    for row in rows.values():
        row |= {k: round(v, 2) for k, v in row.items() if isinstance(v, float)}
    median = {codec: round(statistics.median(found), 2) for codec, found in by_codec.items()}
    in_all = {
        name: round(statistics.median(row[name] for row in counted), 2)
        for name in ("ratio_decord", "pack_to_ours", "pack_to_decord")
    }
    print(json.dumps({"videos": rows, "ratio_by_codec": median, "in_all": in_all}))


def _videos(folder: Path) -> list[Path]:
    """Those of the folder that is named; else bundled and made ones."""
    if len(sys.argv) > 1:
        return find_videos(Path(sys.argv[1]))
    made = [make_video(folder, codec, *size) for codec in CODECS for size in SIZES]
    return [*bundled_clips().values(), *made]


if __name__ == "__main__":
    main()
