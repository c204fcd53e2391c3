"""The thing under a click: its tokens in every time step."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool

from app.workbench.clip import Clip
from app.workbench.clip_features import layers_of

ALIKE = 0.4
"""Cosine of two tokens of one thing, at least, once the clip's mean is taken away."""
MOST = 0.5
"""Share of a token's label from which on it belongs to the thing."""


def actor_tokens(clip: Clip) -> Bool[np.ndarray, "t h w"] | None:
    """The tokens that belong to the world's actor; None where nobody knows."""
    if clip.actor is None:
        return None
    import torch

    from vjepa.analysis.following import MAJORITY, coverage

    return (coverage(torch.from_numpy(clip.actor), clip.model.config) > MAJORITY).numpy()


def thing_at(clip: Clip, token: int) -> Bool[np.ndarray, "t h w"]:
    """The tokens of the thing that a token belongs to.

    Where the world drew the clip and the token is its actor's, the true ones. Else those around it
    whose features are like its own, carried through the clip by their features.

    Args:
        clip: where it was clicked.
        token: index of the clicked one.
    """
    truth = actor_tokens(clip)
    if truth is not None and truth.flat[token]:
        return truth
    import torch

    from vjepa.analysis import following

    grid = clip.model.config.grid
    step, place = divmod(token, grid[1] * grid[2])
    ways = following.directions(torch.from_numpy(layers_of(clip)[-1]).float(), True)
    alike = (following.cosine(ways, token).view(grid)[step] > ALIKE).numpy()
    around = torch.from_numpy(connected(alike, divmod(place, grid[2])))
    found = following.propagate(ways, around, step, grid).numpy() > MOST
    found[step] = around.numpy()
    return found


def connected(cells: Bool[np.ndarray, "h w"], at: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The cells that hang together with one of them, which is always among them."""
    marked = cells.astype(np.uint8)
    marked[at] = 1
    _, labels = cv2.connectedComponents(marked, connectivity=4)
    return labels == labels[at]
