"""How fast is the world drawn? `python benchmarks/draw_world.py`.

Prints one JSON object: clips a second at every level, at the bundled model's size, on the CPU with
one thread and with all, and on a GPU where there is one. Drawing is worth storing (`python -m vjepa
store`) where it is slower than training.
"""

from __future__ import annotations

import json
import time

import torch
from PIL import Image, ImageDraw

from vjepa.config import preset
from vjepa.world.world import CATEGORIES, LEVELS, MOTIONS, World, WorldBatch

SECONDS = 4.0
"""That every level is drawn for."""
BATCHES = {"cpu": 32, "cuda": 512}


def rate(level: int, device: str) -> float:
    """Clips a second."""
    shape = preset("demo")
    world = World(level, shape.image_size, shape.num_frames, device=device)
    generator = torch.Generator(device).manual_seed(0)
    world.sample(8, generator)  # reads the pack
    begun, drawn = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        frames = world.sample(BATCHES[device], generator).frames
        drawn += len(frames)
        frames.flatten()[0].item()  # a GPU is done only when it answers
    return round(drawn / (time.perf_counter() - begun), 1)


def rates(device: str) -> list[float]:
    """Clips a second, level by level."""
    return [rate(level, device) for level in range(len(LEVELS))]


CAPTION = 13  # pixels above each row
GAP = 2  # pixels between frames


def contact_sheet(batch: WorldBatch, every: int = 2, boxes: bool = False) -> Image.Image:
    """Lays out the clips of a batch.

    Args:
        batch: clips to show.
        every: show one frame in this many.
        boxes: outline the visible (white) and the amodal (yellow) boxes.
    """
    clips, frames, side = batch.frames.shape[:3]
    shown = range(0, frames, every)
    pitch = side + GAP
    sheet = Image.new("RGB", (len(shown) * pitch, clips * (side + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for clip in range(clips):
        top = clip * (side + CAPTION) + CAPTION
        labels = CATEGORIES[batch.appearance[clip]], MOTIONS[batch.motion[clip]]
        draw.text((2, top - CAPTION), ", ".join(labels), fill="black")
        for column, frame in enumerate(shown):
            picture = Image.fromarray(batch.frames[clip, frame].cpu().numpy())
            if boxes:
                _outline(picture, batch, clip, frame)
            sheet.paste(picture, (column * pitch, top))
    return sheet


def _outline(picture: Image.Image, batch: WorldBatch, clip: int, frame: int):
    draw = ImageDraw.Draw(picture)
    draw.rectangle(batch.amodal_boxes[clip, frame].tolist(), outline="yellow")
    if batch.boxes[clip, frame].any():
        draw.rectangle(batch.boxes[clip, frame].tolist(), outline="white")


def world_sheet(level: int, clips: int = 6, split: str = "train", seed: int = 0) -> Image.Image:
    """A contact sheet of fresh world clips."""
    generator = torch.Generator().manual_seed(seed)
    return contact_sheet(World(level, split=split).sample(clips, generator))


def main() -> None:
    """Prints the rates."""
    threads = torch.get_num_threads()
    found = {f"cpu, {threads} threads": rates("cpu")}
    torch.set_num_threads(1)
    found["cpu, 1 thread"] = rates("cpu")
    if torch.cuda.is_available():
        found[torch.cuda.get_device_name()] = rates("cuda")
    print(json.dumps({"levels": LEVELS, "clips_per_second": found}))


if __name__ == "__main__":
    main()
