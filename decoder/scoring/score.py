"""Is the decoded region what the features say? Conditions A to E, scored on hidden pixels.

A target     decoded from the true features: the ceiling
B predicted  decoded from the predictions: the result
C shuffled   decoded from another clip's predictions: is it grounded?
D null       decoded from nothing: the prior
E trivial    mean colour, temporal copy, inpainting: is it worth a model?
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Generator, Tensor
from tqdm.auto import tqdm

from decoder.explorer import Explorer
from decoder.scoring import metrics
from decoder.scoring.held_out import (
    MASK_NAMES,
    Clips,
    Group,
    decode,
    decode_conditions,
    encode_hidden,
    held_out,
    make_groups,
)
from decoder.scoring.hide import score_kinds
from decoder.scoring.metrics import ClipScore, Scores
from decoder.scoring.reencode import reencode
from vjepa.tokens import pixel_mask

SPREAD_SEEDS = 8
STEP_COUNTS = (1, 2, 4, 8, 16, 32)
STEP_CLIPS = 64
"""Clips that are decoded with every number of steps."""
LEAST_ACTOR = 64
"""Hidden pixels of the moving object below which a clip says nothing about it."""


def score_decoder(
    explorer: Explorer,
    clips: str,
    n: int,
    *,
    levels: Sequence[int],
    seed: int,
    steps: int,
    kinds: Sequence[str] = (),
) -> dict:
    """Scores the decoder on clips that it was not trained on.

    Args:
        explorer: model and decoder.
        clips: "world" (held-out objects and panoramas), "physics" (the test split of the physics
            world), "real" (the two untrained bundled videos), or a folder of videos.
        n: number of clips.
        levels: difficulties of the world, mixed equally.
        seed: of clips, masks and noise.
        steps: of the diffusion.
        kinds: kinds of masks that each clip is scored behind (`decoder.scoring.hide`); their rows
            in `by_mask` are added to those of the presets.

    Returns:
        the table, as `python -m decoder evaluate --json` prints it.

    Raises:
        InputError: unknown clips, fewer than two, or a model without a decoder.
    """
    drawn = held_out(clips, n, explorer.config, levels, Generator().manual_seed(seed))
    table, _ = score_clips(explorer, drawn, seed=seed, steps=steps)
    for kind, row in score_kinds(explorer, drawn, kinds, seed=seed, steps=steps).items():
        table["by_mask"][kind] = (table["by_mask"].get(kind) or {}) | (row or {"clips": 0})
    return table


def score_clips(explorer: Explorer, clips: Clips, *, seed: int, steps: int) -> tuple[dict, Scores]:
    """The same for clips at hand: the table, and the clips' own numbers, which make it."""
    explorer.require_decoder()
    scores = Scores()
    with tqdm(total=len(clips), desc="evaluate", unit="clip") as bar:
        for group in make_groups(explorer, clips, Generator().manual_seed(seed)):
            scores += score_group(explorer, group, steps, seed)
            bar.update(len(group.indices))
    found = reencode(explorer, clips, Generator().manual_seed(seed), steps, seed)
    table = summary(scores) | {
        "reencode_top1": found["top1"]["mean"],
        "reencode_among": found["among"],
        "reencode": found,
        "steps": steps,
        "seed": seed,
    }
    return table, scores


def score_group(explorer: Explorer, group: Group, steps: int, seed: int) -> Scores:
    """Every number of every clip of a group."""
    targets = encode_hidden(explorer, group.clips.frames, group.mask)
    decoded = decode_conditions(explorer, group, targets, steps, seed)
    errors = (group.predictions - targets).abs().mean((1, 2)).tolist()
    scores = Scores()
    for row, index in enumerate(group.indices):
        numbers = score_clip(explorer, group, row, {k: v[row] for k, v in decoded.items()})
        numbers["prediction_error"] = errors[row]
        scores.append(ClipScore(index, group.kind, group.mask, numbers))
    score_spread(explorer, group, scores[0], steps, seed)
    score_steps(explorer, group, scores, seed)
    return scores


def score_clip(
    explorer: Explorer, group: Group, row: int, decoded: dict[str, UInt8[Tensor, "T H W 3"]]
) -> dict[str, float]:
    """A clip under conditions A to E, on all that is hidden and on parts of it."""
    truth = group.clips.frames[row].numpy()
    places = regions(explorer, group, row)
    hidden = places["psnr"]
    clips = {name: frames.numpy() for name, frames in decoded.items()}
    clips |= metrics.trivial_fills(truth, hidden)
    numbers = {"sharpness": sharpness_ratio(clips["predicted"], truth, hidden)}
    speckled = metrics.speckle(clips["target"], truth, hidden)
    numbers |= {} if speckled is None else {"speckle": speckled}
    for name, frames in clips.items():
        squared = metrics.squared_error(frames, truth)
        numbers[f"ssim/{name}"] = metrics.ssim(frames, truth, hidden)
        for measure, place in places.items():
            numbers[f"{measure}/{name}"] = metrics.decibels(squared[place].mean())
    return numbers


def regions(explorer: Explorer, group: Group, row: int) -> dict[str, Bool[np.ndarray, "T H W"]]:
    """What is scored by itself: all hidden pixels, the moving object's, those long not seen."""
    hidden = pixel_mask(group.mask, explorer.config)
    unseen = steps_since_seen(group.mask)
    places = {"psnr": hidden}
    if group.clips.actor is not None:
        actor = hidden & group.clips.actor[row].cpu()
        places |= {"moving": actor} if actor.sum() >= LEAST_ACTOR else {}
    for since in unseen[group.mask].unique().tolist():
        name = f"since/{since}" if since > 0 else "since/never"
        places[name] = pixel_mask(unseen == since, explorer.config) & hidden
    return {name: place.numpy() for name, place in places.items()}


def steps_since_seen(mask: Bool[Tensor, "t h w"]) -> Int[Tensor, "t h w"]:
    """Time steps since a token's place was last visible: 0 where it is, -1 where it never was."""
    since = torch.full(mask.shape, -1)
    last = torch.full(mask.shape[1:], -1)
    for t, hidden in enumerate(mask):
        last = torch.where(hidden, last + (last >= 0), 0)
        since[t] = last
    return since


def sharpness_ratio(
    frames: UInt8[np.ndarray, "T H W 3"],
    truth: UInt8[np.ndarray, "T H W 3"],
    hidden: Bool[np.ndarray, "T H W"],
) -> float:
    """Sharpness of the hidden region, as a share of the truth's."""
    return metrics.sharpness(frames, hidden) / max(metrics.sharpness(truth, hidden), 1e-6)


def score_spread(explorer: Explorer, group: Group, score: ClipScore, steps: int, seed: int) -> None:
    """Do samples differ where they err? On the first clip of a group, several seeds."""
    frames = group.clips.frames[:1].expand(SPREAD_SEEDS, -1, -1, -1, -1)
    features = group.predictions[:1].expand(SPREAD_SEEDS, -1, -1)
    seeds = range(seed, seed + SPREAD_SEEDS)
    samples = decode(explorer, frames, group.mask, features, "predicted", seeds, steps).numpy()
    seen = (samples, frames[0].numpy(), pixel_mask(group.mask, explorer.config).numpy())
    score.numbers["spread"] = metrics.spread_error_correlation(*seen)
    for part, pair in enumerate(metrics.error_by_spread(*seen).T):
        names = (f"spread/{part}", f"error/{part}")
        score.numbers.update(zip(names, map(float, pair), strict=True))


def score_steps(explorer: Explorer, group: Group, scores: Scores, seed: int) -> None:
    """PSNR and sharpness against the number of diffusion steps, for the first clips."""
    if group.indices[0] >= STEP_CLIPS:
        return
    hidden = pixel_mask(group.mask, explorer.config).numpy()
    seeds = [seed + index for index in group.indices]
    what = (group.clips.frames, group.mask, group.predictions, "predicted", seeds)
    for steps in STEP_COUNTS:
        decoded = decode(explorer, *what, steps).numpy()
        for score, frames, truth in zip(scores, decoded, what[0].numpy(), strict=True):
            score.numbers[f"steps/{steps}"] = metrics.psnr(frames, truth, hidden)
            sharpness = sharpness_ratio(frames, truth, hidden)
            score.numbers[f"sharpness/{steps}"] = sharpness


def summary(scores: Scores) -> dict:
    """The table that is printed and stored, but for what is encoded again."""
    errors = scores.values("prediction_error")
    kinds = {kind: scores.where(lambda one, kind=kind: one.kind == kind) for kind in MASK_NAMES}
    moving = "moving/predicted"
    return scores.compared("psnr") | {
        "ssim": scores.by_condition("ssim"),
        "sharpness": scores.mean("sharpness"),
        "sharpness_ci95": scores.interval("sharpness")["ci95"],
        "speckle": scores.interval("speckle") if len(scores.values("speckle")) else None,
        "spread_error_spearman": scores.mean("spread"),
        "spread_error_ci95": scores.interval("spread")["ci95"],
        "error_by_spread": _error_by_spread(scores),
        "psnr_by_steps": {str(k): scores.mean(f"steps/{k}") for k in STEP_COUNTS},
        "sharpness_by_steps": {str(k): scores.mean(f"sharpness/{k}") for k in STEP_COUNTS},
        "four_steps_minus_32": scores.difference("steps/4", "steps/32"),
        "by_mask": {kind: some.compared("psnr") for kind, some in kinds.items() if some},
        "by_time_since_seen": {name: scores.compared(f"since/{name}") for name in _bins(scores)},
        "moving_object": scores.compared("moving") if len(scores.values(moving)) else None,
        "prediction_error": {"mean": float(errors.mean()), "std": float(errors.std())},
    }


def _error_by_spread(scores: Scores) -> dict[str, list[float]]:
    parts = [name for name in scores[0].numbers if name.startswith("error/")]
    return {
        "error": [scores.mean(name) for name in parts],
        "spread": [scores.mean(name.replace("error", "spread")) for name in parts],
    }


def _bins(scores: Scores) -> list[str]:
    """The times since last seen that occur, shortest first, "never" last."""
    names = {
        name.split("/")[1] for one in scores for name in one.numbers if name.startswith("since/")
    }
    return sorted(names, key=lambda name: int(name) if name != "never" else np.inf)
