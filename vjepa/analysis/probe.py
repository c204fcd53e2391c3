"""Frozen evaluation: what a simple classifier reads from features that are no longer trained.

Clips of the world, features of the target encoder pooled over all tokens, and a linear or a k-NN
probe on them. Test clips show objects and panoramas that no training clip shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor
from tqdm import tqdm

from vjepa.analysis.interval import interval
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


def pool(features: Float[Tensor, "B N D"]) -> Float[Tensor, "B 3*D"]:
    """Mean, standard deviation and maximum over the tokens.

    The mean alone is that of the background: an object covers few tokens.
    """
    features = features.float()
    return torch.cat([features.mean(1), features.std(1), features.amax(1)], dim=1)


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
            pooled[name].append(pool(model.encode(normalize(batch.frames))).cpu().numpy())
        for task in TASKS:
            labels[task].append(getattr(batch, task).cpu().numpy())
    return Features(
        {name: np.concatenate(parts) for name, parts in pooled.items()},
        {task: np.concatenate(parts) for task, parts in labels.items()},
    )


def hits(
    train: Features, test: Features, model: str, task: str, probe: str
) -> Bool[np.ndarray, " N"]:
    """Which test clips a probe gets right, once it is fitted on the training clips."""
    classifier = make_pipeline(StandardScaler(), PROBES[probe]())
    classifier.fit(train[model], train.labels[task])
    return classifier.predict(test[model]) == test.labels[task]


def evaluate(
    model: VJEPA,
    tasks: Sequence[str],
    probes: Sequence[str],
    *,
    level: int,
    train_clips: int,
    test_clips: int,
    seeds: Sequence[int],
) -> list[dict]:
    """Probes a model and its random twin on the same clips.

    Args:
        model: frozen.
        tasks, probes: which; one result each pair.
        level: difficulty of the world.
        train_clips, test_clips: how many, per seed.
        seeds: of the clips (and of the twin's weights); the test clips of all are pooled.

    Returns:
        one dictionary a task and probe: accuracy, the random baseline's, and their difference
        clip by clip, with intervals.

    Raises:
        InputError: an unknown task or probe, or no clips.
    """
    _check(tasks, probes, train_clips, test_clips)
    right: dict[tuple, list] = {}
    for seed in seeds:
        generator = Generator().manual_seed(seed)
        models = {"model": model, "random": random_twin(model, seed)}
        train = collect(models, level, "train", train_clips, generator)
        test = collect(models, level, "test", test_clips, generator)
        for key in product(tasks, probes, models):
            task, probe, name = key
            right.setdefault(key, []).append(hits(train, test, name, task, probe))
    scored = {key: np.concatenate(parts).astype(float) for key, parts in right.items()}
    return [
        {
            "task": task,
            "probe": probe,
            "level": level,
            "train_clips": train_clips,
            "labels": 1.0,
            "seeds": list(seeds),
            "accuracy": interval(scored[task, probe, "model"]),
            "chance": 1 / len(TASKS[task]),
            "baselines": {"random": interval(scored[task, probe, "random"])},
            "above_random": interval(scored[task, probe, "model"] - scored[task, probe, "random"]),
        }
        for task, probe in product(tasks, probes)
    ]


def _check(tasks: Sequence[str], probes: Sequence[str], train_clips: int, test_clips: int) -> None:
    for kind, given, known in (("task", tasks, TASKS), ("probe", probes, PROBES)):
        for name in given:
            if name not in known:
                raise InputError(f"There is no {kind} {name!r}; choose one of {', '.join(known)}.")
    if train_clips < 100 or test_clips < 10:
        raise InputError("A probe needs at least 100 training clips and 10 test clips.")
