"""What is seen of predictions without decoding them: nearest neighbours, PCA, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from app.mask_and_decode import answers, neighbours
from app.mask_and_decode.answers import Answer, Question
from app.workbench.clip import Clip
from app.workbench.memory import kept
from app.workbench.rooms import ask

if TYPE_CHECKING:
    from vjepa.analysis.projections import Components


@dataclass(frozen=True, kw_only=True)
class Preview(Answer):
    """A prediction that is not decoded.

    Attributes:
        predictions: predicted features of the hidden tokens.
        predicted: the predictions' first three components as RGB, black where visible.
        true: those of the true features of the same tokens.
    """

    predictions: Float[np.ndarray, "M O"]
    predicted: UInt8[np.ndarray, "t h w 3"]
    true: UInt8[np.ndarray, "t h w 3"]


@dataclass(frozen=True)
class Nearest:
    """The hidden region as a collage of other clips.

    Attributes:
        sheets: JPEG sheets by name: "nearest" from the predictions, "ceiling" from the truth.
        distance: of each prediction to its nearest neighbour, NaN where visible.
    """

    sheets: dict[str, bytes]
    distance: Float[np.ndarray, "t h w"]


@kept
def preview_for(question: Question, _clip: Clip) -> Preview:
    """Errors and components behind a mask.

    Raises:
        InputError: a mask that cannot be predicted behind, or no model to ask.
    """
    mask = answers.asked_mask(question)
    components = target_components(_clip.id, _clip)

    def work(explorer) -> Preview:
        found = explorer.inspect(mask, mask_type=question.mask_token)
        predictions = found.predictions.numpy()
        true = explorer.targets.cpu().numpy()[mask.ravel()]
        return Preview(
            question=question,
            error=found.error,
            typical=explorer.typical_error,
            seconds=sum(found.timings.values()) / 1000,
            predictions=predictions,
            predicted=painted(components, predictions, mask),
            true=painted(components, true, mask),
        )

    return ask(_clip, work)


@kept
def nearest_for(question: Question, _clip: Clip) -> Nearest:
    """The collage behind a mask, of a bank that is ready.

    Raises:
        InputError: a mask that cannot be predicted behind, or the bank could not be made.
    """
    preview, bank = preview_for(question, _clip), neighbours.of(_clip.model).result()
    mask = preview.mask

    def work(explorer) -> Nearest:
        import torch

        target_idx = torch.from_numpy(np.flatnonzero(mask))
        true = explorer.targets[target_idx.to(explorer.targets.device)]
        asked = {"nearest": torch.from_numpy(preview.predictions), "ceiling": true}
        found = {
            name: bank.collage(
                explorer.frames, features, target_idx, leave_out=_clip.bundled or None
            )
            for name, features in asked.items()
        }
        sheets = {name: answers.hidden_sheet(one.frames, mask) for name, one in found.items()}
        return Nearest(sheets, found["nearest"].distance)

    return ask(_clip, work)


@kept
def target_components(clip_id: str, _clip: Clip) -> Components:
    """Principal components of the clip's true features."""
    from vjepa.analysis import projections

    return projections.fit_components(ask(_clip, lambda explorer: explorer.targets.cpu().numpy()))


def painted(
    components: Components, features: Float[np.ndarray, "M O"], mask: np.ndarray
) -> UInt8[np.ndarray, "t h w 3"]:
    """Features of the hidden tokens as colours on the grid."""
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask] = components.colours(features)
    return colours
