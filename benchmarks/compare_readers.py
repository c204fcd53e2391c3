"""Does the reader show what ffmpeg shows? `python benchmarks/compare_readers.py FOLDER`.

For each file of a folder and three starts (the beginning, the middle, near the end), a frame of
ours is compared with ffmpeg's own, decoded from the beginning and turned, its pixels made square:
the same index (the nearest of ffmpeg's frames is the one on screen at that time), orientation (none
of the seven others fits better), aspect, and colours within 3 of 255. `ffmpeg` and `ffprobe` must
be there. Prints a table, and one JSON object at the end.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vjepa.data.clips import is_video, read_with_notes
from vjepa.errors import InputError
from vjepa.reading.upright import turn

SIZE = 96
COLOURS = 3.0
"""Mean difference, of 255, between ours and ffmpeg's picture blurred alike."""
MAX_FRAMES = 1500
"""Of ffmpeg's that are kept: what is longer is compared in its first minute or so."""
TURNS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
TURNS += [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


class Shown(NamedTuple):
    """What ffmpeg shows of a file: its frames as small squares, and when each is shown."""

    frames: np.ndarray
    times: np.ndarray


def by_ffmpeg(path: Path) -> Shown | None:
    """All frames as ffmpeg decodes them forwards, square-pixelled and cropped as ours are."""
    size = f"crop='min(iw,ih)':'min(iw,ih)',scale={SIZE}:{SIZE}:flags=area"
    chain = f"scale='iw*if(sar,sar,1)':ih:flags=area,setsar=1,{size},showinfo"
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-i", str(path.absolute()), "-an", "-sn"]
    command += ["-vf", chain, "-fps_mode", "passthrough", "-frames:v", str(MAX_FRAMES)]
    command += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    frames = np.frombuffer(done.stdout, np.uint8)
    count = len(frames) // (SIZE * SIZE * 3)
    frames = frames[: count * SIZE * SIZE * 3].reshape(count, SIZE, SIZE, 3)
    lines = done.stderr.decode(errors="replace").split("\n")
    stamps = [line.split("pts_time:")[1].split()[0] for line in lines if "pts_time:" in line]
    times = np.array([float(t) if t != "NOPTS" else np.nan for t in stamps[:count]])
    return Shown(frames, times) if count and len(times) == count else None


def starts(shown: Shown) -> tuple[list[float], bool]:
    """Three starts, each in the middle of a frame, and whether ffmpeg's stamps rise."""
    count, times = len(shown.frames), shown.times
    places = sorted({0, count // 2, max(0, count - 2)})
    if np.isnan(times).any() or (np.diff(times) <= 0).any():
        return [0.0], False
    ends = np.append(times[1:], times[-1] + 1e-3)
    return [float((times[i] + ends[i]) / 2 - times[0]) if i else 0.0 for i in places], True


def compare(path: Path, shown: Shown, start: float) -> dict:
    """Ours against ffmpeg's at one start."""
    try:
        ours = read_with_notes(path, SIZE, 1, start=start).frames[0]
    except InputError as error:
        return {"start": start, "refused": str(error)}
    on_screen = int(np.searchsorted(shown.times - shown.times[0], start + 5e-4, side="right")) - 1
    far = distances(ours, shown.frames)
    nearest = int(far.argmin())
    index = nearest if far[nearest] < 0.75 * far[on_screen] else on_screen  # it may stand still
    theirs = shown.frames[on_screen]
    turned = [distance(turn(ours, matrix), theirs) for matrix in TURNS]
    return {
        "start": round(start, 3),
        "index": [index, on_screen],
        "upright": min(turned) >= turned[0] - 0.25,
        "colours": round(float(far[on_screen]), 2),
    }


def distances(ours: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Of a frame from each of ffmpeg's."""
    return np.array([distance(ours, frame) for frame in frames])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two pictures, blurred: scaling filters differ, colours may not."""
    a, b = (cv2.GaussianBlur(x, (5, 5), 0).astype(np.float32) for x in (a, b))
    return float(np.abs(a - b).mean())


def verdict(row: dict) -> str:
    """One word."""
    if "refused" in row:
        return "refused"
    index, on_screen = row["index"]
    if index != on_screen:
        return "INDEX"
    if not row["upright"]:
        return "TURNED"
    return "ok" if row["colours"] <= COLOURS else "COLOURS"


def main() -> None:
    """Compares all files of a folder and prints what it finds."""
    if len(sys.argv) != 2 or not shutil.which("ffmpeg"):
        raise SystemExit("Usage: python benchmarks/compare_readers.py FOLDER, where ffmpeg is.")
    logging.getLogger("vjepa").setLevel(logging.ERROR)
    folder, verdicts = Path(sys.argv[1]), {}
    for path in sorted(filter(is_video, folder.rglob("*"))):
        name = str(path.relative_to(folder))
        verdicts[name] = [verdict(row) for row in rows(path, name)]
    flat = [word for words in verdicts.values() for word in words]
    print(json.dumps({"files": len(verdicts)} | {word: flat.count(word) for word in set(flat)}))


def rows(path: Path, name: str) -> list[dict]:
    """The comparisons of a file, printed."""
    shown = by_ffmpeg(path)
    if shown is None:
        try:
            read_with_notes(path, SIZE, 1)
            print(f"{name:60} ffmpeg shows nothing, ours does")
        except InputError as error:
            print(f"{name:60} neither shows anything: {error}")
        return []
    where, rising = starts(shown)
    found = [compare(path, shown, start) for start in where]
    for row in found:
        print(f"{name:60} {verdict(row):8} {row}" + ("" if rising else " (stamps do not rise)"))
    return found


if __name__ == "__main__":
    main()
