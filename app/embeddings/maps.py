"""What the embeddings page shows, computed once for every clip and setting, and its maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from app.workbench import clip_features
from app.workbench.clip import Clip, ClipAddress, bundled_clips, load_clip
from app.workbench.clip_features import masked_errors
from app.workbench.components import View
from app.workbench.figures import to_link
from app.workbench.memory import kept
from app.workbench.models import Model
from app.workbench.queue import in_turn
from app.workbench.rooms import ask

if TYPE_CHECKING:
    from vjepa.analysis.projections import Components
if TYPE_CHECKING:
    from vjepa.analysis.projections import Components


COMPONENTS = 3
MAPS = ("t-SNE", "UMAP")
"""Projections that keep neighbourhoods: those of `vjepa.analysis.projections`."""

MAPPING = "drawing a map"
"""The lane in which they are computed: seconds each."""


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
    return clip_features.normed(clip_features.layers_of(clip)[layer])


def components_of(clip: Clip, layer: int, joint: bool) -> Components:
    """Principal components of the clip's own tokens, or of those of all bundled clips."""
    return _joint_components(layer, clip.model) if joint else _own_components(clip.id, layer, clip)


@kept
def _own_components(clip_id: str, layer: int, _clip: Clip) -> Components:
    from vjepa.analysis import projections

    return projections.fit_components(features_of(_clip, layer), COMPONENTS)


@kept
def _joint_components(layer: int, model: Model) -> Components:
    from vjepa.analysis import projections

    clips = [load_clip(ClipAddress("bundled", name), model) for name in bundled_clips()]
    tokens = [features_of(clip, layer) for clip in clips]
    return projections.fit_components(np.concatenate(tokens), COMPONENTS)


@kept
def map_of(
    clip_id: str, layer: int, method: str, dims: int, _clip: Clip
) -> Float[np.ndarray, "N dims"]:
    """The tokens on a map that keeps neighbourhoods."""
    from vjepa.analysis.projections import project

    features = features_of(_clip, layer)
    return in_turn(MAPPING, lambda: project(features, method, dims))


@kept
def clusters_of(clip_id: str, layer: int, count: int, _clip: Clip) -> Int[np.ndarray, " N"]:
    """The cluster of each token, 0 for the largest."""
    from vjepa.analysis.projections import clusters

    return clusters(features_of(_clip, layer), count)


@kept
def predictions_of(
    clip_id: str, mask_link: str, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]
) -> tuple[Int[np.ndarray, " M"], Float[np.ndarray, "M D"]]:
    """The hidden tokens, and the predicted features of the last layer.

    Raises:
        InputError: the mask is empty or hides everything.
    """

    def work(explorer) -> tuple[np.ndarray, np.ndarray]:
        seen = explorer.features(_mask, mask_type=_clip.model.mask_token)
        predictions = seen.predictions[:, explorer.config.last_layer]
        return seen.target_idx.cpu().numpy(), predictions.cpu().numpy()

    return ask(_clip, work)


COLOURS = ("components", "time", "row", "column", "error", "4 clusters", "8 clusters")
PALETTE = "e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 999999".split()
"""Okabe and Ito's colours, told apart by the colour-blind too: one a cluster."""


def colour_view(mask: Bool[np.ndarray, "t h w"], clip: Clip, look: Look) -> View:
    """The map that has the points' colours.

    Raises:
        InputError: errors are to be shown, and the mask is empty or hides everything.
    """
    if look.colour == "components":
        return component_colours(clip, look)
    if look.colour.endswith("clusters"):
        return cluster_colours(clip, look)
    if look.colour == "error":
        errors = masked_errors(clip.id, to_link(mask), clip, mask)
        tip = "How far each predicted token is from the true one: L1 distance of features."
        return errors.view("colours", "error", tip)
    axis = ("time", "row", "column").index(look.colour)
    places = 1.0 + np.indices(mask.shape)[axis]
    tip = "Where a token is on the grid: do features know their place?"
    return View("colours", look.colour, tip, places, 1.0, float(mask.shape[axis]))


def component_colours(clip: Clip, look: Look) -> View:
    """Three principal components in one picture."""
    found = components_of(clip, look.layer, look.joint)
    colours = found.colours(features_of(clip, look.layer))
    tip = "PC 1 is red, PC 2 green, PC 3 blue: what has one colour has like features."
    colours = colours.reshape(*clip.model.config.grid, 3)
    return View("colours", "PC 1, 2, 3 as RGB", tip, colours=colours)


def cluster_colours(clip: Clip, look: Look) -> View:
    """The clusters, each in a colour."""
    labels = clusters_of(clip.id, look.layer, int(look.colour.split()[0]), clip)
    palette = np.array([list(bytes.fromhex(colour)) for colour in PALETTE], np.uint8)
    tip = "Groups of like features, found by k-means; which colour is which means nothing."
    colours = palette[labels].reshape(*clip.model.config.grid, 3)
    return View("colours", look.colour, tip, colours=colours)


def component_views(
    found: Components, features: Float[np.ndarray, "N D"], grid: tuple[int, int, int]
) -> list[View]:
    """One map a principal component, in a scale that the colour-blind can read."""
    scores = found.scores(features)
    return [
        View(
            f"pc-{i + 1}",
            f"PC {i + 1} · {share:.0%}",
            f"Where tokens lie along principal component {i + 1}, which holds {share:.0%} of the "
            "variance. Of its two directions the one with the longer tail is bright.",
            scores[:, i].reshape(grid),
            float(found.low[i]),
            float(found.high[i]),
        )
        for i, share in enumerate(found.explained)
    ]
