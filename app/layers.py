"""A clip's features after every block: which to look at, and the numbers themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.rooms import ask
from app.sources import Clip

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

FEW = 8
"""Layers that buttons have room for."""
SMALL = 16e6
"""Bytes of features that are nothing to a server; of larger ones it keeps only those of few clips,
in float16."""


def choice(place: DeltaGenerator, count: int, key: str) -> int:
    """The chosen layer, from 1 to `count`; the last one where nobody chose."""
    layers = range(1, count + 1)
    hidden = {"key": f"{key}_{count}", "label_visibility": "collapsed"}
    if count <= FEW:
        return place.segmented_control("layer", layers, default=count, required=True, **hidden)
    return place.select_slider("layer", layers, value=count, width=220, **hidden)


def layers_of(clip: Clip) -> Float[np.ndarray, "L N D"]:
    """The features, as the encoder gives them."""
    config = clip.model.config
    size = 4 * config.depth * config.num_tokens * config.embed_dim
    return (_small if size <= SMALL else _large)(clip.id, clip)


@st.cache_resource(show_spinner=False, max_entries=64)
def _small(clip_id: str, _clip: Clip) -> Float[np.ndarray, "L N D"]:
    return ask(_clip, lambda explorer: explorer.layers.cpu().numpy())


@st.cache_resource(show_spinner=False, max_entries=3)
def _large(clip_id: str, _clip: Clip) -> Float[np.ndarray, "L N D"]:
    return ask(_clip, lambda explorer: explorer.layers.half().cpu().numpy())


def normed(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Features of one layer, layer-normed as targets are."""
    import torch

    from vjepa.model import normalize_features

    return normalize_features(torch.from_numpy(features).float()[None])[0].numpy()
