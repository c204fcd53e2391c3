"""Masks as a person draws them, clip by clip, scored against the best fill without a model.

Beside V-JEPA's own kinds: `thing` hides one thing from a moment on, by a box around its way;
`still` does the same in a clip that repeats one frame, where all there is to know was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Generator, Tensor
from tqdm.auto import tqdm

from decoder.explorer import Explorer
from decoder.scoring import metrics
from decoder.scoring.held_out import ClipBatch, Clips, decode, encode_hidden, make_group
from decoder.scoring.metrics import FILLS, ClipScore, Scores
from vjepa import masks
from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.tokens import pixel_mask

DRAWN_KINDS = ("short", "long", "future")
"""Kinds of `vjepa.masks`; the others are made for each clip."""
HIDDEN_KINDS = (*DRAWN_KINDS, "thing", "still")
FIRST_HIDDEN = (2, 4)
"""Time steps, counted from 0, from which a thing may be hidden: the third to the fifth."""
LEAST_PIXELS = 64
"""Hidden pixels of a thing below which a clip says nothing about it."""
MOVES = 24
"""Grey levels by which a pixel of what moves differs from the clip's median."""


def score_kinds(
    explorer: Explorer, clips: Clips, kinds: Sequence[str], *, seed: int, steps: int
) -> dict[str, dict]:
    """Scores decoded predictions behind several kinds of masks, on the same clips.

    Args:
        explorer: model and decoder.
        clips: held out.
        kinds: names in `HIDDEN_KINDS`.
        seed: of masks and noise.
        steps: of the diffusion.

    Returns:
        by kind: `clips` that were scored; `predicted_minus_fill`, PSNR in dB over the fill that is
        best on average; `thing_predicted_minus_fill`, the same on the thing's own pixels (None
        where nobody knows a thing); `wins`, the share of clips that are better than that very
        clip's best fill; for `still`, `predicted_minus_ceiling` on the thing's pixels. None for a
        kind that no clip could be scored on.

    Raises:
        InputError: an unknown kind, or a model without a decoder.
    """
    for kind in kinds:
        if kind not in HIDDEN_KINDS:
            known = ", ".join(HIDDEN_KINDS)
            raise InputError(f"There is no kind of mask {kind!r} to score; choose among {known}.")
    explorer.require_decoder()
    scores = {kind: Scores() for kind in kinds}
    generator = Generator().manual_seed(seed)
    for index in tqdm(range(len(clips)), desc="masks", unit="clip"):
        batch = clips.read([index])
        for kind in kinds:
            hidden = hide(batch, kind, explorer.config, generator)
            if hidden is not None:
                scores[kind].append(_score(explorer, index, kind, *hidden, seed + index, steps))
    return {kind: summary(found, kind) if found else None for kind, found in scores.items()}


def score_presets(
    explorer: Explorer,
    clips: Mapping[str, UInt8[np.ndarray, "T H W 3"]],
    *,
    seed: int,
    steps: int,
) -> dict:
    """Every preset's mask on every clip, against that very clip's best fill.

    Args:
        explorer: model and decoder.
        clips: by name.
        seed: of masks and noise.
        steps: of the diffusion.

    Returns:
        `wins`, the share that the predictions win, and `rows`: `clip`, `mask`, and `above_fill`,
        by how many dB.
    """
    generator, rows = Generator().manual_seed(seed), []
    for name, frames in tqdm(clips.items(), desc="presets", unit="clip"):
        batch = ClipBatch(torch.from_numpy(frames)[None])
        for kind in masks.MASKS:
            mask = masks.make(kind, explorer.grid, generator)
            numbers = _score(explorer, 0, kind, batch, mask, seed, steps).numbers
            best = max(numbers[f"hidden/{fill}"] for fill in FILLS)
            above = numbers["hidden/predicted"] - best
            rows.append({"clip": name, "mask": kind, "above_fill": above})
    return {"wins": float(np.mean([row["above_fill"] > 0 for row in rows])), "rows": rows}


def hide(
    batch: ClipBatch, kind: str, config: ModelConfig, generator: Generator
) -> tuple[ClipBatch, Bool[Tensor, "t h w"]] | None:
    """One clip, or what is made of it, and its mask; None where it shows no thing to hide.

    Args:
        batch: one clip.
        kind: one of `HIDDEN_KINDS`.
        config: gives the grid.
        generator: of the mask.
    """
    if kind in DRAWN_KINDS:
        return batch, masks.make(kind, config.grid, generator)
    thing = what_moves(batch.frames[0].numpy()) if batch.thing is None else batch.thing[0].cpu()
    first, last = FIRST_HIDDEN
    start = first + int(torch.randint(last - first + 1, (), generator=generator))
    if kind == "still":
        batch, thing = _stopped(batch, thing)
        start = first
    mask = thing_mask(thing, config, min(start, config.grid[0] - 1))
    return None if mask is None else (ClipBatch(batch.frames, thing=thing[None]), mask)


def _stopped(
    batch: ClipBatch, thing: Bool[Tensor, "T H W"]
) -> tuple[ClipBatch, Bool[Tensor, "T H W"]]:
    """The frame that shows most of the thing, over and over."""
    frame = int(thing.flatten(1).sum(1).argmax())
    return ClipBatch(batch.frames[:, frame : frame + 1].expand_as(batch.frames)), thing[
        frame : frame + 1
    ].expand_as(thing)


def thing_mask(
    thing: Bool[Tensor, "T H W"], config: ModelConfig, start: int
) -> Bool[Tensor, "t h w"] | None:
    """A box around a thing's way from a time step on; None where too little of it would be hidden.

    A thing whose way fills the frame is not hidden either: nothing would be left to go by but
    what came before.
    """
    way = thing[start * config.tubelet_size :].any(0)
    if thing[start * config.tubelet_size :].sum() < LEAST_PIXELS:
        return None
    side = config.patch_size
    rows, columns = (way.any(axis).nonzero().flatten() for axis in (1, 0))
    ranges = [(int(r[0]) // side, -(-(int(r[-1]) + 1) // side)) for r in (rows, columns)]
    mask = masks.box(config.grid, (start, config.grid[0]), *ranges)
    return None if mask[start].all() else mask


def what_moves(frames: UInt8[np.ndarray, "T H W 3"]) -> Bool[Tensor, "T H W"]:
    """The pixels of what moves most in a video without labels: nowhere where nothing does.

    Frame by frame, the largest piece that differs from the clip's median.
    """
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(float)
    differs = (np.abs(gray - np.median(gray, axis=0)) > MOVES).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    return torch.from_numpy(
        np.stack([_largest(cv2.morphologyEx(d, cv2.MORPH_OPEN, kernel)) for d in differs])
    )


def _largest(places: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(places)
    if count < 2:
        return np.zeros(places.shape, bool)
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def _score(
    explorer: Explorer,
    index: int,
    kind: str,
    batch: ClipBatch,
    mask: Bool[Tensor, "t h w"],
    seed: int,
    steps: int,
) -> ClipScore:
    """One clip behind one mask: predictions, ceiling, fills; all hidden pixels, and the thing's."""
    group = make_group(explorer, [index], batch, kind, mask)
    told = {
        "predicted": group.predictions,
        "target": encode_hidden(explorer, batch.frames, mask),
    }
    drawn = {
        name: decode(explorer, batch.frames, mask, features, name, [seed], steps)[0].numpy()
        for name, features in told.items()
    }
    truth, hidden = batch.frames[0].numpy(), pixel_mask(mask, explorer.config).numpy()
    places = {"hidden": hidden}
    if batch.thing is not None:
        thing = hidden & batch.thing[0].cpu().numpy()
        places |= {"thing": thing} if thing.sum() >= LEAST_PIXELS else {}
    numbers = {
        f"{place}/{name}": metrics.decibels(metrics.squared_error(frames, truth)[where].mean())
        for name, frames in (drawn | metrics.trivial_fills(truth, hidden)).items()
        for place, where in places.items()
    }
    return ClipScore(index, kind, mask, numbers)


def summary(scores: Scores, kind: str) -> dict:
    """One kind's row of the table."""

    def above_fill(place: str) -> dict | None:
        if not len(scores.values(f"{place}/predicted")):
            return None
        return scores.difference(f"{place}/predicted", f"{place}/{scores.best_fill(place)}")

    best = np.max([scores.values(f"hidden/{fill}") for fill in FILLS], axis=0)
    row = {
        "clips": len(scores),
        "predicted_minus_fill": above_fill("hidden"),
        "thing_predicted_minus_fill": above_fill("thing"),
        "wins": float((scores.values("hidden/predicted") > best).mean()),
    }
    if kind == "still":
        row["predicted_minus_ceiling"] = scores.difference("thing/predicted", "thing/target")
    return row
