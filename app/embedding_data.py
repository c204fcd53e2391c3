"""What the embeddings page shows, computed once for every clip and setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float, Int

from app import layers
from app.models import Model
from app.rooms import ask
from app.sources import Clip, Source, bundled_clips, load_clip

if TYPE_CHECKING:
    from vjepa.analysis.pca import Components

COMPONENTS = 3
MAPS = ("t-SNE", "UMAP")
"""Projections that keep neighbourhoods: those of `vjepa.analysis.projection`."""


@dataclass(frozen=True)
class Look:
    """What the visitor wants to see.

    Attributes:
        layer: from 0.
        joint: whether the components are those of all clips.
        method: projection of the points.
        dims: axes of the chart.
        colour: of points and first map.
        predicted: whether predictions are drawn.
    """

    layer: int
    joint: bool
    method: str
    dims: int
    colour: str
    predicted: bool

    @property
    def needs_mask(self) -> bool:
        """Whether what is hidden changes the chart."""
        return self.predicted or self.colour == "error"


def features_of(clip: Clip, layer: int) -> Float[np.ndarray, "N D"]:
    """Features of a clip after one layer, counted from 0, layer-normed as the targets are."""
    return layers.normed(layers.layers_of(clip)[layer])


def components_of(clip: Clip, layer: int, joint: bool) -> Components:
    """Principal components of the clip's own tokens, or of those of all bundled clips."""
    return _joint_components(layer, clip.model) if joint else _own_components(clip.id, layer, clip)


@st.cache_resource(show_spinner=False, max_entries=256)
def _own_components(clip_id: str, layer: int, _clip: Clip) -> Components:
    from vjepa.analysis import pca

    return pca.fit(features_of(_clip, layer), COMPONENTS)


@st.cache_resource(show_spinner=False, max_entries=32)
def _joint_components(layer: int, model: Model) -> Components:
    from vjepa.analysis import pca

    clips = [load_clip(Source("bundled", name), model) for name in bundled_clips()]
    tokens = [features_of(clip, layer) for clip in clips]
    return pca.fit(np.concatenate(tokens), COMPONENTS)


@st.cache_resource(show_spinner="Looking for neighbours: this takes seconds.", max_entries=64)
def map_of(
    clip_id: str, layer: int, method: str, dims: int, _clip: Clip
) -> Float[np.ndarray, "N dims"]:
    """The tokens on a map that keeps neighbourhoods."""
    from vjepa.analysis.projection import project

    return project(features_of(_clip, layer), method, dims)


@st.cache_resource(show_spinner=False, max_entries=64)
def clusters_of(clip_id: str, layer: int, count: int, _clip: Clip) -> Int[np.ndarray, " N"]:
    """The cluster of each token, 0 for the largest."""
    from vjepa.analysis.projection import clusters

    return clusters(features_of(_clip, layer), count)


@st.cache_resource(show_spinner=False, max_entries=64)
def predictions_of(
    clip_id: str, mask_link: str, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]
) -> tuple[Int[np.ndarray, " M"], Float[np.ndarray, "M D"]]:
    """The hidden tokens, and the predicted features of the last layer.

    Raises:
        InputError: the mask is empty or hides everything.
    """

    def work(explorer) -> tuple[np.ndarray, np.ndarray]:
        seen = explorer.features(_mask, mask_type=_clip.model.mask_token)
        predictions = seen.predictions[:, explorer.config.last_level]
        return seen.target_idx.cpu().numpy(), predictions.cpu().numpy()

    return ask(_clip, work)
