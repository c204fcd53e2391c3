"""Models compared by what the same probes, with the same labels, read from their features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from vjepa.analysis.features import Tokens
from vjepa.analysis.fit import TRAINED, ask, fit
from vjepa.analysis.interval import interval
from vjepa.analysis.tasks import Task
from vjepa.errors import InputError

NEIGHBOURS = 10
FITTED: dict[str, Callable[[Task, int], BaseEstimator]] = {
    "linear": lambda task, clips: task.linear(),
    "knn": lambda task, clips: task.knn(min(NEIGHBOURS, clips)),
}
"""Estimators that are fitted to the standardised mean, deviation and maximum of the tokens."""
PROBES = (*TRAINED, *FITTED)
FEWEST_CLIPS = 10

Run = tuple[str, float, int]
"""What is varied: the model's name, the share of the labels, the seed."""
Scores = dict[tuple[str, str], Float[np.ndarray, " n"]]
"""Score of every test clip, by the names of task and probe."""


def compare(
    train: Mapping[str, Tokens],
    test: Mapping[str, Tokens],
    tasks: Sequence[Task],
    probes: Sequence[str],
    labels: Sequence[float],
    seeds: Sequence[int],
) -> list[dict]:
    """Fits and scores every probe of every model, for every share of the labels and every seed."""
    runs = list(product(train, labels, seeds))
    scores = {
        run: measure(run, train, test, tasks, probes)
        for run in tqdm(runs, desc="probes", unit="run")
    }
    return table(scores, train["model"], test["model"], tasks)


def measure(
    run: Run,
    train: Mapping[str, Tokens],
    test: Mapping[str, Tokens],
    tasks: Sequence[Task],
    probes: Sequence[str],
) -> Scores:
    """Scores of one model with one share of the labels: a probe's answers to all views averaged."""
    model, share, seed = run
    learned, asked = choose(train[model], share, seed), test[model]
    for task in tasks:
        task.check(learned.label(task.name))
    trained = [(task, kind) for task, kind in product(tasks, probes) if kind in TRAINED]
    answers = ask(fit(trained, learned, seed=seed), asked) if trained else {}
    for task, kind in product(tasks, probes):
        if kind in FITTED:
            answers[task, kind] = fit_estimator(task, kind, learned, asked)
    return {
        (task.name, kind): task.score(answer.mean(axis=1), asked.label(task.name))
        for (task, kind), answer in answers.items()
    }


def choose(train: Tokens, share: float, seed: int) -> Tokens:
    """The clips whose labels are learned from: a share of them, another one for each seed."""
    count = round(share * len(train))
    if count < FEWEST_CLIPS:
        raise InputError(
            f"{share:.0%} of {len(train)} training clips are {count}: "
            f"a probe needs at least {FEWEST_CLIPS}."
        )
    return train.subset(np.random.default_rng(seed).permutation(len(train))[:count])


def fit_estimator(task: Task, kind: str, train: Tokens, test: Tokens) -> Float[np.ndarray, "n V K"]:
    """Fits an estimator to pooled features; returns its answers to every view of the test clips."""
    estimator = make_pipeline(StandardScaler(), FITTED[kind](task, len(train)))
    estimator.fit(train.pooled[:, 0], train.label(task.name))
    asked = test.pooled  # (n, V, F)
    answers = task.predict(estimator, asked.reshape(-1, asked.shape[-1]))
    return answers.reshape(*asked.shape[:2], -1)


def table(
    scores: Mapping[Run, Scores], train: Tokens, test: Tokens, tasks: Sequence[Task]
) -> list[dict]:
    """One row a share, task and probe: the model, its baselines, and the differences.

    A clip's score is averaged over the seeds first. Intervals are over the test clips; how much
    seeds differ is in `by_seed`.

    Returns:
        dictionaries with `accuracy` (of boxes: intersection over union), the same of every
        baseline in `baselines`, and `above_<baseline>`, the difference clip by clip.
    """
    models, shares, seeds = (list(dict.fromkeys(column)) for column in zip(*scores, strict=True))
    pairs = next(iter(scores.values()))
    by_name = {task.name: task for task in tasks}
    rows = []
    for share, (name, probe) in product(shares, pairs):
        task = by_name[name]
        by_seed = {
            model: np.stack([scores[model, share, seed][name, probe] for seed in seeds])
            for model in models
        }
        rows.append(
            {
                "task": name,
                "probe": probe,
                "metric": task.metric,
                "labels": share,
                "seeds": seeds,
                "chance": task.chance(train.label(name), test.label(name)),
                **_summary(by_seed),
            }
        )
    return rows


def _summary(by_seed: Mapping[str, Float[np.ndarray, "seeds n"]]) -> dict:
    """A row's scores, from every clip's score by every seed of every model."""
    ours, *others = by_seed
    means = {model: scores.mean(axis=0) for model, scores in by_seed.items()}
    return {
        "accuracy": interval(means[ours]),
        "by_seed": by_seed[ours].mean(axis=1).tolist(),
        "baselines": {model: interval(means[model]) for model in others},
        **{f"above_{model}": interval(means[ours] - means[model]) for model in others},
    }
