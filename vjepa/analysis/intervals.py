"""How sure a mean is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def interval(values: Float[np.ndarray, " n"]) -> dict:
    """Mean and normal 95 % interval of the mean, over clips; no width for a single clip."""
    mean = float(np.mean(values))
    half = 1.96 * float(np.std(values, ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": mean, "ci95": [mean - half, mean + half]}
