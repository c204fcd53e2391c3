"""How sure a mean is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Z = 1.96
"""Standard deviations to each side of a normal 95 % interval."""


def interval(values: Float[np.ndarray, " n"]) -> dict:
    """Mean and normal 95 % interval of the mean, over clips; no width for a single clip."""
    mean = float(np.mean(values))
    half = Z * float(np.std(values, ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": mean, "ci95": [mean - half, mean + half]}


def share_interval(values: Float[np.ndarray, " n"]) -> dict:
    """Mean of scores of 0 to 1 and its 95 % interval, which stays within 0 and 1.

    Wilson's (1927): of the means that could have given this one, and not around it, so that ten
    right answers of ten do not mean certainty. Scores between 0 and 1 vary less than right and
    wrong do: they count as that many more clips.
    """
    mean, count = float(np.mean(values)), len(values)
    spread, most = float(np.var(values)), mean * (1 - mean)
    if 0 < spread < most:
        count *= most / spread
    centre = (mean + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * np.sqrt(most / count + Z**2 / (4 * count**2))
    return {"mean": mean, "ci95": [max(0.0, float(centre - half)), min(1.0, float(centre + half))]}
