"""Neighbourhoods of tokens: maps in which near tokens stay near, and clusters.

Principal components (`vjepa.analysis.pca`) keep distances and can place new tokens, such as
predictions; the maps here keep neighbourhoods only, of the tokens that they were made from.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE

from vjepa.errors import InputError

FEWEST_TOKENS = 8
_NUMBA = Lock()
"""numba's work queue ends the process when two threads enter it, and servers have many."""


def _tsne(features: np.ndarray, dims: int, seed: int) -> np.ndarray:
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(dims, perplexity=perplexity, random_state=seed).fit_transform(features)


def _umap(features: np.ndarray, dims: int, seed: int) -> np.ndarray:
    with _NUMBA:
        from umap import UMAP  # compiles here, and more at the first fit

        neighbours = min(15, len(features) - 1)
        # a seed allows one thread only; not saying so would be answered with a warning
        return UMAP(neighbours, dims, random_state=seed, n_jobs=1).fit_transform(features)


METHODS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {"t-SNE": _tsne, "UMAP": _umap}
"""Projections by name: van der Maaten and Hinton 2008; McInnes, Healy and Melville 2018."""


def project(
    features: Float[np.ndarray, "N D"], method: str, dims: int = 2, seed: int = 0
) -> Float[np.ndarray, "N {dims}"]:
    """A map in which near tokens stay near; what is far apart, or how large, means little.

    Args:
        features: one token a row.
        method: a name in `METHODS`; takes seconds, the first UMAP of a process ten and more.
        dims: 2 or 3.
        seed: the same one gives the same map.

    Raises:
        InputError: an unknown method, or too few tokens for neighbourhoods.
    """
    if method not in METHODS:
        raise InputError(f"There is no projection {method!r}; choose one of {', '.join(METHODS)}.")
    if len(features) < FEWEST_TOKENS:
        raise InputError(
            f"{len(features)} tokens are too few for {method}: give at least {FEWEST_TOKENS}."
        )
    return METHODS[method](features.astype(np.float64), dims, seed).astype(np.float64)


def clusters(
    features: Float[np.ndarray, "N D"], count: int, seed: int = 0
) -> Int[np.ndarray, " N"]:
    """The k-means cluster of each token, 0 for the largest: numbers that no rerun shuffles.

    Raises:
        InputError: fewer than two clusters, or more than tokens.
    """
    if not 2 <= count <= len(features):
        raise InputError(
            f"{len(features)} tokens cannot form {count} clusters: "
            f"ask for a number between 2 and {len(features)}."
        )
    fitted = KMeans(count, n_init=10, random_state=seed).fit(features.astype(np.float64))
    by_size = np.bincount(fitted.labels_, minlength=count).argsort()[::-1]
    return by_size.argsort()[fitted.labels_]
