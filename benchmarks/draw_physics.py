"""How fast is the physics world drawn? `python benchmarks/draw_physics.py`.

Prints one JSON object: clips a second at the bundled model's size, with one process and with one
for each core; processor time of a clip; and how much longer a labelled one takes. With
`--sheet docs/physics.jpg` it draws the contact sheet of the docs instead.
"""

from __future__ import annotations

import json
import os
import time
from itertools import product
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw

from vjepa.config import preset
from vjepa.world.physics import COLOUR_NAMES, EVENT_NAMES, SHAPE_NAMES, PhysicsWorld
from vjepa.world.physics_store import CHUNK, draw_frames

CAPTION, GAP = 13, 2
"""Pixels above each row and between frames."""


def main(sheet: Path | None = None, chunks: int = 4, seed: int = 0) -> None:
    """Prints the rates, or draws the sheet.

    Args:
        sheet: the picture to draw.
        chunks: of 16 clips that every process draws.
        seed: of the clips.
    """
    if sheet is None:
        print(json.dumps(measure(chunks, seed)))
    else:
        contact_sheet(seed).save(sheet, quality=75)


def measure(chunks: int, seed: int) -> dict:
    """All rates."""
    shape, cores = preset("demo"), os.cpu_count() or 1
    world = PhysicsWorld(shape.image_size, shape.num_frames)
    rates = {str(n): rate(world, n, chunks, seed) for n in sorted({1, cores})}
    world.clip(seed)  # opens OpenGL
    plain, labelled = seconds((world.frames, world.clip), seed)
    return {
        "clips_per_second": rates,
        "core_seconds_per_clip": round(plain, 3),
        "labelled_over_plain": round(labelled / plain, 2),
    }


def rate(world: PhysicsWorld, processes: int, chunks: int, seed: int) -> float:
    """Clips a second, once the processes have started."""
    count = CHUNK * processes * (chunks + 1)
    drawn, begun = 0, 0.0
    for frames in draw_frames(world, 0, count, seed=seed, processes=processes):
        if begun:
            drawn += len(frames)
        else:
            begun = time.perf_counter()
    return round(drawn / (time.perf_counter() - begun), 2)


def seconds(ways, seed: int, clips: int = 20) -> list[float]:
    """Processor time of a clip, for ways to draw it that take turns."""
    spent = np.zeros(len(ways))
    for number, (index, draw) in product(range(clips), enumerate(ways)):
        begun = time.process_time()
        draw((seed, number))
        spent[index] += time.process_time() - begun
    return (spent / clips).tolist()


def contact_sheet(seed: int, every: int = 2) -> Image.Image:
    """One clip of each event, its labels above; one frame in `every` is shown."""
    world = PhysicsWorld()
    clips = [world.clip((seed, number), name) for number, name in enumerate(EVENT_NAMES)]
    shown = range(0, world.num_frames, every)
    pitch, row = world.image_size + GAP, world.image_size + CAPTION
    sheet = Image.new("RGB", (len(shown) * pitch, len(clips) * row), "white")
    draw = ImageDraw.Draw(sheet)
    for index, clip in enumerate(clips):
        words = (
            EVENT_NAMES[clip["event"]],
            COLOUR_NAMES[clip["colour"]],
            SHAPE_NAMES[clip["shape"]],
        )
        draw.text((2, index * row), "  ".join(words).replace("_", " "), fill="black")
        for column, frame in enumerate(shown):
            place = (column * pitch, index * row + CAPTION)
            sheet.paste(Image.fromarray(clip["frames"][frame]), place)
    return sheet


if __name__ == "__main__":
    tyro.cli(main)
