"""A picture of many clips: one row a clip, its labels above, boxes on request."""

import torch
from PIL import Image, ImageDraw

from vjepa.data.world import CATEGORIES, MOTIONS, World, WorldBatch

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
