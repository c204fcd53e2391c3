"""Token features as few numbers to look at: principal components, t-SNE, UMAP, clusters.

Components have signs that stay: neither another order of tokens nor a rotation turns them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from jaxtyping import Float, Int, UInt8
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from vjepa.errors import InputError

COLOUR_PERCENTILES = (2, 98)
"""Scores at the two ends of the colour scale: a few outliers must not make all others grey."""
NO_SKEW = 1e-6
"""Below that, a skew is rounding. Not more: at every threshold there are signs that can flip."""


@dataclass(frozen=True)
class Components:
    """The directions in which some tokens differ most.

    Attributes:
        mean: of the tokens that were fitted.
        axes: unit vectors, by falling variance.
        explained: share of the variance along each, 0..1.
        low, high: scores that get the darkest and the brightest colour.
    """

    mean: Float[np.ndarray, " D"]
    axes: Float[np.ndarray, "K D"]
    explained: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]

    def scores(self, features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
        """Coordinates along the axes; also of tokens that were not fitted, such as predictions."""
        return (features - self.mean) @ self.axes.T

    def colours(self, features: Float[np.ndarray, "N D"]) -> UInt8[np.ndarray, "N 3"]:
        """The first three components as red, green and blue, 0..255."""
        width = np.maximum(self.high - self.low, np.finfo(np.float64).tiny)
        share = (self.scores(features) - self.low) / width
        return np.rint(255 * share[:, :3].clip(0, 1)).astype(np.uint8)


def fit_components(features: Float[np.ndarray, "N D"], count: int = 3) -> Components:
    """Principal components of tokens: of one clip, or of several clips one after the other.

    In float64 by an exact solver, whatever the precision of the features, and with a sign that
    depends on the features alone: see `_with_stable_signs`.

    Args:
        features: one token a row, in any order.
        count: K, how many components.

    Raises:
        InputError: too few tokens or features for so many components, or all tokens are alike.
    """
    _check(features, count)
    features = features.astype(np.float64)
    fitted = PCA(count, svd_solver="covariance_eigh").fit(features)
    axes = _with_stable_signs(fitted.components_, features - fitted.mean_)
    scores = (features - fitted.mean_) @ axes.T
    low, high = np.percentile(scores, COLOUR_PERCENTILES, axis=0)
    return Components(fitted.mean_, axes, fitted.explained_variance_ratio_, low, high)


def _with_stable_signs(
    axes: Float[np.ndarray, "K D"], centred: Float[np.ndarray, "N D"]
) -> Float[np.ndarray, "K D"]:
    """Turns every axis so that its longer tail is positive: few tokens are bright, many dark.

    An axis and its opposite are equally good, and solvers pick one by rounding. The skew of the
    scores (as in CAPI, Darcet et al. 2025) is a property of all tokens together: neither their
    order, nor a rotation of the features, nor another precision turns it. Where there is none, the
    largest coefficient is made positive.
    """
    cubes = (centred @ axes.T) ** 3
    skew, rounding = cubes.mean(axis=0), NO_SKEW * np.abs(cubes).mean(axis=0)
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    deciding = np.where(np.abs(skew) > rounding, skew, largest)
    return np.where(deciding < 0, -1.0, 1.0)[:, None] * axes


def _check(features: Float[np.ndarray, "N D"], count: int) -> None:
    tokens, width = features.shape
    most = min(tokens - 1, width)
    if not 1 <= count <= most:
        raise InputError(
            f"{tokens} tokens of {width} features have {most} principal components, not {count}: "
            "ask for fewer, or give more tokens."
        )
    if np.ptp(features, axis=0).max() == 0:
        raise InputError("All tokens are alike, so nothing tells them apart: give other tokens.")


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
