"""Frozen evaluation: what a simple classifier reads from features that are no longer trained.

Clips of the world, features of the target encoder averaged over all tokens, and a linear or a
k-NN probe on them. Test clips show objects and panoramas that no training clip shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator
from tqdm import tqdm

from vjepa.data.clips import normalize
from vjepa.data.world import CATEGORIES, MOTIONS, World
from vjepa.errors import InputError
from vjepa.model import VJEPA

TASKS = {"appearance": CATEGORIES, "motion": MOTIONS}
"""What is asked of a clip, and the possible answers."""
PROBES: dict[str, Callable] = {
    "linear": lambda: LogisticRegression(C=0.1, max_iter=1000),
    "knn": lambda: KNeighborsClassifier(n_neighbors=10, metric="cosine", weights="distance"),
}
"""Classifiers, fed with standardised features."""


@dataclass(frozen=True)
class Features:
    """Pooled features of labelled clips, by model name."""

    by_model: dict[str, Float[np.ndarray, "N D"]]
    labels: dict[str, Int64[np.ndarray, " N"]]

    def __getitem__(self, model: str) -> Float[np.ndarray, "N D"]:
        return self.by_model[model]


def random_twin(model: VJEPA, seed: int = 0) -> VJEPA:
    """A model of the same shape with fresh weights: the baseline that matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = VJEPA(model.config)
    return twin.to(model.device, model.dtype).eval()


@torch.no_grad()
def collect(
    models: dict[str, VJEPA], level: int, split: str, count: int, generator: Generator
) -> Features:
    """Draws labelled clips once and encodes them with every model.

    Args:
        models: by name; all of one shape.
        level: difficulty of the world.
        split: "train" or "test".
        count: number of clips.
        generator: of the clips.
    """
    config = next(iter(models.values())).config
    world = World(level, config.image_size, config.num_frames, split=split)
    pooled: dict[str, list] = {name: [] for name in models}
    labels: dict[str, list] = {task: [] for task in TASKS}
    for start in tqdm(range(0, count, 32), desc=f"{split} clips, level {level}", unit="batch"):
        batch = world.sample(min(32, count - start), generator)
        for name, model in models.items():
            clips = normalize(batch.frames).to(model.device, model.dtype)
            pooled[name].append(model.encode(clips).float().mean(1).cpu().numpy())
        for task in TASKS:
            labels[task].append(getattr(batch, task).cpu().numpy())
    return Features(
        {name: np.concatenate(parts) for name, parts in pooled.items()},
        {task: np.concatenate(parts) for task, parts in labels.items()},
    )


def accuracy(train: Features, test: Features, model: str, task: str, probe: str, count: int):
    """Share of test clips that a probe, fitted on the first `count` training clips, gets right.

    Returns:
        for each test clip, whether it was right.

    Raises:
        InputError: an unknown task or probe.
    """
    if task not in TASKS or probe not in PROBES:
        raise InputError(
            f"There is no probe {probe!r} for {task!r}: choose {', '.join(PROBES)} "
            f"and {', '.join(TASKS)}."
        )
    classifier = make_pipeline(StandardScaler(), PROBES[probe]())
    classifier.fit(train[model][:count], train.labels[task][:count])
    return classifier.predict(test[model]) == test.labels[task]
