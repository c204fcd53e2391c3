"""Surprise: how far what comes is from what was predicted of it, above all from the nearest.

A sliding "hide the future" mask, and how often impossible clips of the world surprise more than
possible ones (the measure of Garrido et al. 2025, who found it to reveal intuitive physics in large
models; the clips after IntPhys, Riochet et al. 2018). The published V-JEPA's training masks hide
blocks through all time and never the future alone: what is asked is not what it was trained for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor
from tqdm.auto import tqdm

from vjepa.baselines import PixelPrediction
from vjepa.data.clips import normalize
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import take
from vjepa.world import physics_violations
from vjepa.world.physics import PhysicsWorld
from vjepa.world.violations import KINDS, POSTS_FROM, Pairs, draw_pairs
from vjepa.world.world import World

HORIZON = 4
"""Time steps predicted at once."""
NEAREST = -10
"""Of the forecasts of a token the nearest counts most: the power mean of their errors, with this
exponent (1: the plain mean; minus infinity: the nearest alone). From far it is foreseen that what
goes behind a screen comes out again, which from near is forgotten at times; from near, that a wall
throws things back, which from far surprises as much as what passes through it. On training scenes,
60 of things that pass a wall behind a screen and 32 of each other kind, it finds 78 % (vanish 97,
change 100, teleport 97), and 75 % of what vanishes behind a post of the drawn world; the plain mean
58 (97, 100, 97) and 74, the nearest alone 82 (100, 100, 97) and 64. Of drawn things that come out
elsewhere, which were not among these, it finds fewer than the mean: the card has numbers."""
MASK_TYPE = "long"
"""The mask token of long-range masks, as a hidden future is a large hole; that of short-range ones
did as well on the same scenes."""
CHUNK = 4  # scenes, of four clips each, that are scored at a time


@torch.no_grad()
def surprise(
    model: VJEPA | PixelPrediction, clips: Float[Tensor, "B C T H W"], horizon: int = HORIZON
) -> Float[Tensor, "B t h w"]:
    """Prediction error of every token, given only what came before.

    For each time step s from the second on, the steps before s are the context, and steps s to
    s + horizon - 1 are predicted. Each token is so predicted up to `horizon` times; its surprise is
    the L1 distance of the layer-normed target to these forecasts, averaged so that the nearest
    counts most (`NEAREST`): what one of them foresaw hardly surprises. Targets are the target
    encoder's, which sees the clip whole, as in training.

    Args:
        model: frozen; of pixel prediction the errors are those of normalised pixels.
        clips: normalised frames.
        horizon: time steps predicted at once.

    Returns:
        NaN in the first time step, before which there is nothing to predict from.

    Raises:
        InputError: a horizon of less than one step, or clips of one.
    """
    t, h, w = model.grid
    if horizon < 1 or t < 2:
        raise InputError(f"Surprise needs 2 time steps and a horizon of 1, not {t} and {horizon}.")
    targets = model.target_features(clips)
    total = torch.zeros(len(clips), t, h * w, device=model.device)
    passes = torch.zeros(t, 1, device=model.device)
    for step in range(1, t):
        ahead = slice(step, step + horizon)
        errors = _errors(model, clips, targets, step, min(step + horizon, t))
        total[:, ahead] += errors**NEAREST
        passes[ahead] += 1
    average = (total / passes) ** (1 / NEAREST)  # 0 / 0 = NaN in the first step
    return average.view(-1, t, h, w)


def _errors(
    model: VJEPA | PixelPrediction,
    clips: Float[Tensor, "B C T H W"],
    targets: Float[Tensor, "B N D"],
    start: int,
    end: int,
) -> Float[Tensor, "B s P"]:
    """L1 error of time steps `start` to `end`, predicted from those before `start`."""
    _, h, w = model.grid
    order = torch.arange(end * h * w, device=model.device).expand(len(clips), -1)
    context_idx, target_idx = order.tensor_split([start * h * w], dim=1)
    context = model.encode_context(clips, context_idx)
    predictions = model.predict(context, context_idx, target_idx, MASK_TYPE).float()
    error = (predictions - take(targets, target_idx)).abs().mean(-1)
    return error.view(len(clips), end - start, h * w)


def curve(surprise: Float[Tensor, "*B t h w"]) -> Float[Tensor, "*B t"]:
    """Mean surprise of each time step; NaN in the first."""
    return surprise.flatten(-2).mean(-1)


def pixel_change(frames: UInt8[Tensor, "*B T H W 3"]) -> Int64[Tensor, "*B"]:
    """The baseline: the sum of all differences between neighbouring frames, in grey levels."""
    return frames.int().diff(dim=-4).abs().flatten(-4).sum(-1)


def compare(
    possible: Float[np.ndarray, "n 2"], impossible: Float[np.ndarray, "n 2"]
) -> dict[str, dict]:
    """How often the impossible is more surprising, ties counting half, with 95 % intervals.

    A **pair** is an impossible clip and the possible one with the same second half. Their first
    halves differ, and so does what the model has to go by: which of the two surprises more depends
    on that as well. A **set** is both pairs of a scene, two impossible clips against two possible
    ones that are made of the very same frames (the relative score of IntPhys).

    Args:
        possible, impossible: surprise of each clip, by scene, matched by their second half.
    """
    pairs = _wins(possible, impossible).mean(1)  # the two of a scene depend on each other
    sets = _wins(possible.sum(1), impossible.sum(1))
    return {"sets": wilson(sets), "pairs": wilson(pairs)}


def _wins(
    possible: Float[np.ndarray, "*n"], impossible: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    return (np.sign(impossible - possible) + 1) / 2


def wilson(shares: Float[np.ndarray, " n"]) -> dict:
    """Mean of shares 0..1 and its 95 % interval by Wilson's score, which stays within 0..1."""
    n, mean, z = len(shares), float(np.mean(shares)), 1.96
    middle = mean + z**2 / (2 * n)
    half = z * np.sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return {"mean": mean, "ci95": [max(float(low), 0.0), min(float(high), 1.0)]}


def score_surprise(
    model: VJEPA,
    scenes: int,
    generator: Generator,
    world: str = "world",
    horizon: int = HORIZON,
) -> list[dict]:
    """How often impossible clips surprise more than possible ones, on held-out scenes.

    Args:
        model: frozen.
        scenes: for each kind of violation; each gives two pairs, which make one set.
        generator: of the scenes.
        world: whose scenes: "world", the drawn one, or "physics".
        horizon: time steps predicted at once.

    Returns:
        for each kind, in plain view and behind a post or screen: the share of `sets` and of `pairs`
        that the model gets right, and those that the mere change of pixels (`pixels`) gets right.

    Raises:
        InputError: no scenes, no such world, no horizon, or a model whose tubelets would straddle
            the splice.
    """
    config = model.config
    if (config.num_frames // 2) % config.tubelet_size:
        raise InputError("Half a clip is no whole number of tubelets: use another model.")
    if scenes < 1:
        raise InputError(f"{scenes} scenes cannot be scored; ask for at least one.")
    draw, cases = _scenes_of(world, config.image_size, config.num_frames)
    measure = partial(mean_surprise, model, horizon=horizon)
    with tqdm(total=len(cases) * scenes, desc="surprise", unit="scene") as bar:
        return [_score_case(measure, draw, *case, scenes, generator, bar) for case in cases]


DrawPairs = Callable[[str, bool, int, Generator], Pairs]
"""Draws scenes: a kind of violation, whether it is hidden, how many."""


def _scenes_of(
    world: str, image_size: int, num_frames: int
) -> tuple[DrawPairs, Sequence[tuple[str, bool]]]:
    """How a world's held-out scenes are drawn, and its kinds of violations, hidden or not."""
    if world == "world":
        drawn = World(POSTS_FROM, image_size, num_frames, split="test")
        return partial(draw_pairs, drawn), tuple(product(KINDS, (False, True)))
    if world == "physics":
        simulated = PhysicsWorld(image_size, num_frames, split="test")
        return partial(physics_violations.draw_pairs, simulated), physics_violations.CASES
    raise InputError(f"There is no world {world!r} with impossible scenes: use world or physics.")


def _score_case(
    measure: Callable[[Pairs], Float[np.ndarray, "2 n 2"]],
    draw: DrawPairs,
    kind: str,
    hidden: bool,
    scenes: int,
    generator: Generator,
    bar: tqdm,
) -> dict:
    """One kind of violation, in plain view or hidden."""
    by_model, by_pixels = [], []
    for start in range(0, scenes, CHUNK):
        pairs = draw(kind, hidden, min(CHUNK, scenes - start), generator)
        by_model.append(measure(pairs))
        clips = torch.stack([pairs.possible, pairs.impossible])
        by_pixels.append(pixel_change(clips).double().numpy())
        bar.update(len(pairs.possible))
    measured = {"model": by_model, "pixels": by_pixels}
    scores = {name: compare(*np.concatenate(parts, axis=1)) for name, parts in measured.items()}
    return {"kind": kind, "hidden": hidden, "scenes": scenes} | scores


def mean_surprise(
    model: VJEPA | PixelPrediction, pairs: Pairs, horizon: int = HORIZON
) -> Float[np.ndarray, "2 n 2"]:
    """Mean surprise of whole clips, possible ones first.

    Nothing says to the model when something happens; time steps before it are the same in a set.
    """
    clips = torch.stack([pairs.possible, pairs.impossible])  # (2, n, 2, T, H, W, 3)
    curves = curve(surprise(model, normalize(clips.flatten(0, 2)), horizon))
    return curves.nanmean(-1).view(clips.shape[:3]).double().cpu().numpy()
