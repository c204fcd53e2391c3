"""A training small enough to watch: V-JEPA with and without what keeps it from a constant.

An encoder that says the same about everything is predicted without any error. Three things stand
between a training and this trivial solution (paper, section 3.1): no gradient flows into the
targets, they come from a moving average, and a predictor stands between context and targets. Here
each of them can be taken away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from vjepa import masks
from vjepa.config import ModelConfig
from vjepa.data.clips import normalize
from vjepa.model import VJEPA, normalize_features
from vjepa.pretrain import health
from vjepa.tokens import take
from vjepa.world.world import World

SHAPE = ModelConfig(
    image_size=48,
    num_frames=4,
    patch_size=12,
    embed_dim=64,
    depth=2,
    num_heads=2,
    predictor_embed_dim=48,
    predictor_depth=1,
    predictor_num_heads=2,
    patch_init_std=0.06,
)
"""32 tokens a clip."""
CLIPS, HELD_OUT, SHOWN = 256, 32, 5
"""How many are trained on, looked at, and pictured."""
STEPS, EVERY = 240, 8
NAMES = ("stop-gradient", "EMA", "predictor")
"""Of the safeguards, in the order of `Safeguards`."""
HOLDS, COLLAPSES, FEW = 0.9, 0.5, 0.1
"""Shares of what random weights have. Features hold with at least the first of the spread; they
collapsed with at most the second of it, or the third of the rank."""
BATCH, MOMENTUM = 16, 0.99
LR, PREDICTOR_LR = 1.5e-3, 3e-3
"""The predictor learns twice as fast as the encoder. Where both learned at 3e-3 it lost the race in
some trainings without EMA, and their features sank: it has to stay near the best (section 3.1)."""


@dataclass(frozen=True)
class Safeguards:
    """What stands between a training and the trivial solution.

    Attributes:
        stop_gradient: whether no gradient flows into the targets.
        moving_average: whether the targets come from a moving average of the encoder, and not from
            the encoder as it is.
        predictor: whether a predictor is given the context and the places of the targets; without
            one, the mean of the visible tokens' features is the guess for each hidden token.
    """

    stop_gradient: bool = True
    moving_average: bool = True
    predictor: bool = True


@dataclass(frozen=True)
class Checkup:
    """What a training has come to.

    Attributes:
        step: optimizer steps so far.
        loss: L1 error of the predictions, averaged since the last one.
        spread: standard deviation of the features over held-out clips: near 1, and 0 if the encoder
            says the same of all of them.
        rank: effective rank of these differences, 1 to the width of the features.
        colours: three directions of the features, fixed for the training, as RGB: the first time
            step of a few held-out clips.
    """

    step: int
    loss: float
    spread: float
    rank: float
    colours: UInt8[np.ndarray, "n h w 3"]


def trained(
    safeguards: Safeguards, seed: int, steps: int = STEPS, until: float = math.inf
) -> Iterator[Checkup]:
    """Trains a fresh model, and checks it every few steps.

    Args:
        safeguards: which are in place.
        seed: of weights, clips and masks.
        steps: how many at most.
        until: when it ends, done or not, as `time.time` counts.
    """
    model, generator = _fresh(seed), Generator().manual_seed(seed)
    clips = normalize(_drawn("train", CLIPS, generator)).contiguous()
    held = normalize(held_out()).contiguous()
    model.target_encoder.requires_grad_(not safeguards.stop_gradient)
    optimizer = torch.optim.AdamW(_groups(model), fused=True)
    losses: list[float] = []
    for step in count():
        batch = clips[torch.randint(len(clips), (BATCH,), generator=generator)]
        loss = objective(model, batch, safeguards, generator)
        losses.append(loss.item())
        if step % EVERY == 0:
            yield _check(model, held, step, losses)
            losses = []
        if step == steps or time.time() > until:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_target(MOMENTUM if safeguards.moving_average else 0.0)


def trained_alone(safeguards: Safeguards, seed: int, until: float) -> Iterator[Checkup]:
    """The same, on one thread: for a process of its own beside others that answer."""
    torch.set_num_threads(1)
    yield from trained(safeguards, seed, until=until)


def verdict(checks: Sequence[Checkup]) -> str:
    """What has become of the features: "hold", "sink" or "collapse".

    Args:
        checks: all so far, that of the random weights first.
    """
    first, last = checks[0], checks[-1]
    spread, rank = last.spread / first.spread, last.rank / first.rank
    if spread <= COLLAPSES or rank <= FEW:
        return "collapse"
    return "hold" if spread >= HOLDS else "sink"


def objective(
    model: VJEPA,
    clips: Float[Tensor, "B C T H W"],
    safeguards: Safeguards,
    generator: Generator,
) -> Float[Tensor, ""]:
    """Equation 1 behind short-range masks, without the safeguards that are taken away.

    With all of them it is `VJEPA.loss`.
    """
    hidden = masks.multiblock_batch(model.grid, len(clips), "short", generator=generator)
    context_idx, target_idx = masks.collate(hidden, generator=generator)
    context = model.encode_context(clips, context_idx)
    if safeguards.predictor:
        guesses = model.predict(context, context_idx, target_idx, "short")
    else:
        guesses = normalize_features(context.mean(1, keepdim=True))
    return F.l1_loss(
        *torch.broadcast_tensors(guesses, _targets(model, clips, target_idx, safeguards))
    )


def _targets(
    model: VJEPA, clips: Tensor, target_idx: Tensor, safeguards: Safeguards
) -> Float[Tensor, "B M D"]:
    encoder = model.target_encoder if safeguards.moving_average else model.encoder
    features = take(normalize_features(encoder(clips)), target_idx)
    return features.detach() if safeguards.stop_gradient else features


def _groups(model: VJEPA) -> list[dict]:
    """Encoders and predictor, each with its learning rate."""
    encoders = [*model.encoder.parameters(), *model.target_encoder.parameters()]
    predictor = {"params": list(model.predictor.parameters()), "lr": PREDICTOR_LR}
    return [{"params": encoders, "lr": LR}, predictor]


def _fresh(seed: int) -> VJEPA:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VJEPA(SHAPE)


def _drawn(split: str, number: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
    return _world(split).sample(number, generator).frames


@cache
def _world(split: str) -> World:
    """Reading its pictures takes a second: once is enough for many trainings."""
    return World(1, SHAPE.image_size, SHAPE.num_frames, split)


def held_out() -> UInt8[Tensor, "B T H W 3"]:
    """The clips that every training is looked at with: other things, before other backdrops."""
    return _drawn("test", HELD_OUT, Generator().manual_seed(0))


def _check(model: VJEPA, held: Tensor, step: int, losses: list[float]) -> Checkup:
    return Checkup(
        step, float(np.mean(losses)), **health(model, held), colours=colours(model, held[:SHOWN])
    )


def colours(model: VJEPA, clips: Float[Tensor, "B C T H W"]) -> UInt8[np.ndarray, "B h w 3"]:
    """Features of the first time step along three directions, always the same ones, as RGB."""
    t, h, w = model.grid
    axes = torch.linalg.qr(torch.randn(SHAPE.embed_dim, 3, generator=Generator().manual_seed(0))).Q
    found = normalize_features(model.encode(clips)) @ axes
    painted = (127.5 * (1 + found.view(-1, t, h, w, 3)[:, 0] / 2)).clamp(0, 255)
    return painted.to(torch.uint8).numpy()
