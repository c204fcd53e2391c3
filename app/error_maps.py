"""Prediction errors of a clip, token by token: behind a mask, and of its future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app import components
from app.rooms import ask
from app.sources import Clip


@dataclass(frozen=True)
class Errors:
    """Prediction errors of a clip, NaN where nothing is predicted.

    Attributes:
        values: mean L1 distance of predicted and true features.
        scale: the error at the bright end of the colours: twice a typical one.
    """

    values: Float[np.ndarray, "t h w"]
    scale: float

    def view(self, name: str, title: str, tip: str) -> components.View:
        """The errors as a heat map."""
        return components.View(name, title, tip, self.values, 0.0, self.scale, "error")


@st.cache_resource(show_spinner=False, max_entries=64)
def future_errors(clip_id: str, _clip: Clip) -> Errors:
    """The errors of a sliding "hide the future" mask."""

    def work(explorer) -> Errors:
        from vjepa.analysis.surprise import surprise
        from vjepa.data.clips import normalize

        found = surprise(explorer.model, normalize(explorer.frames)[None])[0]
        return errors(explorer, found.cpu().numpy())

    return ask(_clip, work)


@st.cache_resource(show_spinner=False, max_entries=64)
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
