"""The maps of the embeddings page: a colour or a number for every token of the clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from app import embedding_data as data
from app.components import View
from app.error_maps import masked_errors
from app.mask_bits import to_link
from app.sources import Clip

if TYPE_CHECKING:
    from vjepa.analysis.pca import Components

COLOURS = ("components", "time", "row", "column", "error", "4 clusters", "8 clusters")
PALETTE = "e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 999999".split()
"""Okabe and Ito's colours, told apart by the colour-blind too: one a cluster."""


def colour_view(mask: Bool[np.ndarray, "t h w"], clip: Clip, look: data.Look) -> View:
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


def component_colours(clip: Clip, look: data.Look) -> View:
    """Three principal components in one picture."""
    found = data.components_of(clip, look.layer, look.joint)
    colours = found.colours(data.features_of(clip, look.layer))
    tip = "PC 1 is red, PC 2 green, PC 3 blue: what has one colour has like features."
    colours = colours.reshape(*clip.model.config.grid, 3)
    return View("colours", "PC 1, 2, 3 as RGB", tip, colours=colours)


def cluster_colours(clip: Clip, look: data.Look) -> View:
    """The clusters, each in a colour."""
    labels = data.clusters_of(clip.id, look.layer, int(look.colour.split()[0]), clip)
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
