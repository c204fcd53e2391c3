"""What a linear read-out of the predictions tells of the hidden pixels, without a decoder.

Two encoders have two feature spaces, and their losses cannot be compared. Pixels can: ridge
regression from features to tubelets says in seconds which model predicts more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor

from vjepa.data.clips import normalize
from vjepa.grid import patchify, take
from vjepa.model import VJEPA
from vjepa.pretrain import draw_masks

BATCH = 32
TARGETS = 24
"""Hidden tokens of each clip and mask."""
FUTURE = 1 / 3
"""Share of long-range masks that hide the future."""
PENALTY = 30.0


@dataclass(frozen=True)
class Readout:
    """PSNR of hidden pixels read out of features, in dB.

    Attributes:
        predicted: from the predictor's.
        true: from the target encoder's.
        nothing: the mean tubelet.
    """

    predicted: float
    true: float
    nothing: float


def pixel_readout(
    model: VJEPA,
    train: UInt8[Tensor, "B T H W 3"],
    test: UInt8[Tensor, "C T H W 3"],
    *,
    generator: Generator,
) -> Readout:
    """Fits a ridge regression on some clips and scores it on others, behind masks of both types.

    Args:
        model: frozen.
        train, test: RGB frames, at least 32 clips each.
        generator: of the masks.
    """
    fitted, scored = _examples(model, train, generator), _examples(model, test, generator)
    pixels, hidden = fitted["pixels"], scored["pixels"]
    guesses = {"nothing": np.broadcast_to(pixels.mean(0), hidden.shape)}
    for name in ("predicted", "true"):
        ridge = make_pipeline(StandardScaler(), Ridge(PENALTY)).fit(fitted[name], pixels)
        guesses[name] = ridge.predict(scored[name])
    return Readout(**{name: _psnr(guess, hidden) for name, guess in guesses.items()})


@torch.no_grad()
def _examples(model: VJEPA, frames: Tensor, generator: Generator) -> dict[str, np.ndarray]:
    """Hidden tokens, one row each: their predicted and true features, and their pixels, 0..1."""
    rows = [
        row
        for batch in frames.split(BATCH)
        for row in _batch_examples(model, batch.to(model.device), generator)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _batch_examples(
    model: VJEPA, frames: Tensor, generator: Generator
) -> Iterator[dict[str, np.ndarray]]:
    clips = normalize(frames)
    targets = model.target_features(clips)
    pixels = patchify(frames.permute(0, 4, 1, 2, 3) / 255, model.config)
    for mask in draw_masks(model.grid, len(frames), TARGETS, generator, future=FUTURE):
        place = mask.to(model.device)
        context = model.encode_context(clips, place.context_idx)
        predicted = model.predict(context, place.context_idx, place.target_idx, place.mask_type)
        rows = {
            "predicted": predicted,
            "true": take(targets, place.target_idx),
            "pixels": take(pixels, place.target_idx),
        }
        yield {name: x.flatten(0, 1).float().cpu().numpy() for name, x in rows.items()}


def _psnr(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((guess - truth) ** 2)))
