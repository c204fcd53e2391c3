"""What ships of each bundled clip: its title, the mask and the frame it opens with, its licence.

All of it is data, `assets/clips/clips.json`, in the order of the row; the first clip is the one
that a visitor sees who asks for none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from app.workbench.figures import Grid, from_link, resized
from vjepa.data.clips import bundled_clips

FILE = Path(__file__).resolve().parents[2] / "assets" / "clips" / "clips.json"


@dataclass(frozen=True)
class BundledClip:
    """What is known of a bundled clip.

    Attributes:
        title: for the screen.
        mask: what is hidden at first, as a link has it; empty: the frame's middle after a moment.
        frame: the frame that it opens at, from 0; the first one with something hidden where the
            mask hides nothing there.
        licence: of the clip.
        labels: what happens, where our physics world drew it: the true class by task.
    """

    title: str
    mask: str = ""
    frame: int = 0
    licence: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@cache
def catalogue() -> dict[str, BundledClip]:
    """The bundled clips by name, in the order of the row; those without an entry come last."""
    told, present = json.loads(FILE.read_text(encoding="utf-8")), bundled_clips()
    entries = {name: BundledClip(**entry) for name, entry in told.items() if name in present}
    others = (name for name in present if name not in entries)
    return entries | {name: BundledClip(name.replace("_", " ")) for name in others}


def first_clip() -> str:
    """The name of the clip that a visitor sees who asks for none."""
    return next(iter(catalogue()))


def default_mask(name: str, grid: Grid) -> Bool[np.ndarray, "t h w"]:
    """What is hidden of a clip that nobody has painted on.

    Args:
        name: of a bundled clip; of any other clip the middle is hidden.
        grid: the model's; a mask of another grid is stretched.
    """
    entry = catalogue().get(name)
    if entry is None or not entry.mask:
        return first_mask(grid)
    own = tuple(map(int, entry.mask.partition(".")[0].split("x")))
    return resized(from_link(entry.mask, own), grid)


def first_mask(grid: Grid) -> Bool[np.ndarray, "t h w"]:
    """The frame's middle, once it was seen for a moment: what was there has to go on."""
    t, h, w = grid
    mask = np.zeros(grid, bool)
    mask[t // 4 :, 1 : h - 1, 1 : w - 1] = True
    return mask


def opening_frame(name: str, mask: Bool[np.ndarray, "t h w"], num_frames: int) -> int:
    """The frame that a clip opens at, which shows something hidden wherever one does."""
    entry = catalogue().get(name)
    hidden = mask.any(axis=(1, 2))
    frame = min(entry.frame, num_frames - 1) if entry else 0
    if hidden[frame * len(mask) // num_frames] or not hidden.any():
        return frame
    return int(hidden.argmax()) * num_frames // len(mask)
