"""What a model makes of a clip: features after every block, and prediction errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from app.workbench import components, settings
from app.workbench.clip import Clip
from app.workbench.memory import kept
from app.workbench.rooms import ask

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


FEW = 8
"""Layers that buttons have room for."""
SMALL = 16e6
"""Bytes of features that are nothing to a server; of larger ones it keeps only those of few clips,
in float16."""


def choice(place: DeltaGenerator, count: int, key: str) -> int:
    """The chosen layer, from 1 to `count`, the same on all pages; the last where nobody chose."""
    layers = range(1, count + 1)
    look = {"label": "layer", "key": f"{key}_{count}", "label_visibility": "collapsed"}
    if count <= FEW:
        return settings.segments(place, "layer", layers, count, **look)
    return settings.slider(place, "layer", layers, count, width=220, **look)


def layers_of(clip: Clip) -> Float[np.ndarray, "L N D"]:
    """The features, as the encoder gives them."""
    config = clip.model.config
    size = 4 * config.depth * config.num_tokens * config.embed_dim
    return (_small if size <= SMALL else _large)(clip.id, clip)


@kept
def _small(clip_id: str, _clip: Clip) -> Float[np.ndarray, "L N D"]:
    return ask(_clip, lambda explorer: explorer.layers.cpu().numpy())


@kept
def _large(clip_id: str, _clip: Clip) -> Float[np.ndarray, "L N D"]:
    return ask(_clip, lambda explorer: explorer.layers.half().cpu().numpy())


def normed(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Features of one layer, layer-normed as targets are."""
    import torch

    from vjepa.model import normalize_features

    return normalize_features(torch.from_numpy(features).float()[None])[0].numpy()


@dataclass(frozen=True)
class Errors:
    """Errors of the predictions of a clip, NaN where nothing is predicted.

    Attributes:
        values: mean L1 distance of predicted and true features.
        scale: the error at the bright end of the colours: twice a typical one.
    """

    values: Float[np.ndarray, "t h w"]
    scale: float

    def view(self, name: str, title: str, tip: str) -> components.View:
        """The errors as a heat map."""
        return components.View(name, title, tip, self.values, 0.0, self.scale, "error")


@kept
def future_errors(clip_id: str, _clip: Clip) -> Errors:
    """The errors of a sliding "hide the future" mask."""

    def work(explorer) -> Errors:
        from vjepa.analysis.surprise import surprise
        from vjepa.data.clips import normalize

        found = surprise(explorer.model, normalize(explorer.frames)[None])[0]
        return errors(explorer, found.cpu().numpy())

    return ask(_clip, work)


@kept
def masked_errors(
    clip_id: str, mask_link: str, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]
) -> Errors:
    """The errors behind one mask.

    Raises:
        InputError: the mask is empty or hides everything.
    """

    def work(explorer) -> Errors:
        seen = explorer.features(_mask, mask_type=_clip.model.mask_token)
        missed = (seen.predictions - explorer.targets[seen.target_idx]).abs().mean(-1)
        found = np.full(_mask.shape, np.nan, np.float32)
        found[_mask] = missed.cpu().numpy()
        return errors(explorer, found)

    return ask(_clip, work)


def errors(explorer, values: Float[np.ndarray, "t h w"]) -> Errors:
    """Errors on the scale of all that this model gets wrong."""
    typical = explorer.typical_error
    return Errors(values, 2 * typical[0] if typical else float(np.nanmax(values)))
