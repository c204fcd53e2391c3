"""The worst, the median and the best clips, as small pictures that move: nothing is hand-picked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from decoder.explorer import Explorer
from decoder.scoring import metrics
from decoder.scoring.held_out import Clips, Group, decode, encode_hidden, make_group
from decoder.scoring.metrics import ClipScore, Scores
from vjepa.tokens import pixel_mask

RANKINGS = {
    "psnr": "how close the decoded predictions are to the truth",
    "gain": "how much closer they are than what the decoder draws without features",
}
"""What clips are ordered by: PSNR of B, and B - D."""
SHARES = {"worst": 0.0, "median": 0.5, "best": 1.0}
"""Where in the order a case stands."""
SEEDS = 4
PANELS = ("truth", "hidden", *(f"sample {i + 1}" for i in range(SEEDS)), "true features", "spread")
SIDE = 112
"""Pixels of a panel's side, at most."""
GAP = 2
GREY = 128
FRAME_MS = 125
QUALITY = 45
BRIGHTEST = 32
"""Spread, of 255, at the end of its colour scale."""


@dataclass(frozen=True)
class Case:
    """A clip that stands for others.

    Attributes:
        ranking: what it was ordered by, of RANKINGS.
        place: "worst", "median" or "best".
        score: its numbers.
    """

    ranking: str
    place: str
    score: ClipScore


def value(score: ClipScore, ranking: str) -> float:
    """What clips are ordered by, in dB."""
    prior = score.numbers["psnr/null"] if ranking == "gain" else 0.0
    return score.numbers["psnr/predicted"] - prior


def choose(scores: Scores) -> list[Case]:
    """The worst, the median and the best clip of every ranking."""
    cases = []
    for ranking in RANKINGS:
        order = sorted(scores, key=lambda score, ranking=ranking: value(score, ranking))
        for place, share in SHARES.items():
            cases.append(Case(ranking, place, order[round(share * (len(order) - 1))]))
    return cases


def write_cases(
    explorer: Explorer, clips: Clips, scores: Scores, folder: Path, *, seed: int, steps: int
) -> list[dict]:
    """Draws the cases of an evaluation once more, with several samples each.

    Args:
        explorer: model and decoder.
        clips: those that were scored.
        scores: as `score_clips` returned them.
        folder: where the pictures go, one animated WebP a clip.
        seed: of the evaluation.
        steps: of the diffusion.

    Returns:
        for every case its file's name, the panels' titles and the numbers of its clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = choose(scores)
    for score in {case.score.index: case.score for case in cases}.values():
        group = make_group(
            explorer, [score.index], clips.read([score.index]), score.kind, score.mask
        )
        picture = draw_case(explorer, group, seed=seed + score.index, steps=steps)
        write_webp(folder / f"{score.index}.webp", picture)
    return [_entry(case, clips) for case in cases]


def _entry(case: Case, clips: Clips) -> dict:
    index, numbers = case.score.index, case.score.numbers
    return {
        "ranking": case.ranking,
        "place": case.place,
        "file": f"{index}.webp",
        "title": clips.title(index),
        "mask": case.score.kind,
        "panels": list(PANELS),
        "psnr": {
            name.removeprefix("psnr/"): number
            for name, number in numbers.items()
            if name.startswith("psnr/")
        },
        "sharpness": numbers["sharpness"],
        "prediction_error": numbers["prediction_error"],
    }


def draw_case(
    explorer: Explorer, group: Group, *, seed: int, steps: int
) -> UInt8[np.ndarray, "T h w 3"]:
    """The panels of a group's one clip beside each other.

    Args:
        explorer: model and decoder.
        group: of one clip.
        seed: of the first sample: the one that was scored, if that is the clip's.
        steps: of the diffusion.
    """
    (truth,) = group.clips.frames
    frames = truth.expand(SEEDS, -1, -1, -1, -1)
    told = group.predictions.expand(SEEDS, -1, -1)
    seeds = range(seed, seed + SEEDS)
    samples = decode(explorer, frames, group.mask, told, "predicted", seeds, steps)
    targets = encode_hidden(explorer, frames[:1], group.mask)
    ceiling = decode(explorer, frames[:1], group.mask, targets, "target", [seed], steps)
    hidden = pixel_mask(group.mask, explorer.config)
    holed = torch.where(hidden[..., None], torch.tensor(GREY, dtype=torch.uint8), truth)
    spread = torch.from_numpy(coloured(metrics.spread_map(samples.numpy())))
    return side_by_side([truth, holed, *samples, *ceiling, spread])


def coloured(spread: Float[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """A spread as colours, dark to bright: cividis, safe for the colour-blind."""
    level = (spread / BRIGHTEST * 255).clip(0, 255).astype(np.uint8)
    flat = cv2.applyColorMap(level.reshape(-1, level.shape[-1]), cv2.COLORMAP_CIVIDIS)
    return cv2.cvtColor(flat, cv2.COLOR_BGR2RGB).reshape(*level.shape, 3)


def side_by_side(panels: list[UInt8[Tensor, "T H W 3"]]) -> UInt8[np.ndarray, "T h w 3"]:
    """Panels of one clip in a row, grey gaps between them, made smaller where they are large."""
    parts = [_shrink(panel.numpy()) for panel in panels]
    gap = np.full((*parts[0].shape[:2], GAP, 3), GREY, np.uint8)
    row = [part for panel in parts for part in (panel, gap)]
    return np.concatenate(row[:-1], axis=2)


def _shrink(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T h w 3"]:
    side = min(frames.shape[1], SIDE)
    return np.stack([cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA) for f in frames])


def write_webp(path: Path, frames: UInt8[np.ndarray, "T h w 3"]) -> None:
    """An animated WebP that loops for ever: a tenth of a GIF's size, in all its colours."""
    first, *rest = map(Image.fromarray, frames)
    first.save(
        path,
        save_all=True,
        append_images=rest,
        duration=FRAME_MS,
        loop=0,
        quality=QUALITY,
        method=4,
    )
