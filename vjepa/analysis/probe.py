"""Frozen evaluation: what can be read from features that are no longer trained (paper, 4.3).

The same clips, the same labels and the same probes for a model and for what it is compared with.
The world's test clips show objects and panoramas that no training clip shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64
from tqdm.auto import tqdm

from vjepa.analysis.features import (
    FrozenModel,
    LabelledClips,
    LabelledPhysics,
    LabelledVideoClips,
    LabelledWorld,
    Tokens,
    encode,
)
from vjepa.analysis.fit import FITTED, TRAINED, ask, fit, fit_estimator
from vjepa.analysis.intervals import interval, share_interval
from vjepa.analysis.tasks import PHYSICS_TASKS, WORLD_TASKS, Classification, Task
from vjepa.baselines import load_pixel_prediction, random_twin
from vjepa.config import ModelConfig
from vjepa.data.datasets import LabelledVideos, require_classes
from vjepa.errors import InputError
from vjepa.formats.published import ASSETS
from vjepa.model import VJEPA

PROBES = (*TRAINED, *FITTED)
ALL_TASKS = WORLD_TASKS | PHYSICS_TASKS
FEWEST_CLIPS = 10

Trial = tuple[str, float, int]
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
    run: Trial,
    train: Mapping[str, Tokens],
    test: Mapping[str, Tokens],
    tasks: Sequence[Task],
    probes: Sequence[str],
) -> Scores:
    """Scores of one model with one share of the labels: a probe's answers to all views averaged."""
    model, share, seed = run
    answers, asked = {}, test[model]
    # all tasks learn from one pass over all clips, and of a share each from its own
    for some in [list(tasks)] if share == 1 else [[task] for task in tasks]:
        learned = choose(train[model], share, seed, some[0])
        for task in some:
            task.check(learned.label(task.name))
        answers |= _answer(some, probes, learned, asked, seed)
    return {
        (task.name, kind): task.score(answer.mean(axis=1), asked.label(task.name))
        for (task, kind), answer in answers.items()
    }


def _answer(
    tasks: Sequence[Task], probes: Sequence[str], learned: Tokens, asked: Tokens, seed: int
) -> dict[tuple[Task, str], Float[np.ndarray, "n V K"]]:
    """What every probe for every task says of the test clips."""
    trained = [(task, kind) for task, kind in product(tasks, probes) if kind in TRAINED]
    answers = ask(fit(trained, learned, seed=seed), asked) if trained else {}
    for task, kind in product(tasks, probes):
        if kind in FITTED:
            answers[task, kind] = fit_estimator(task, kind, learned, asked)
    return answers


def choose(train: Tokens, share: float, seed: int, task: Task | None = None) -> Tokens:
    """The clips whose labels are learned from: a share of them, another one for each seed.

    For a task with classes it is the same share of each class, as nearly as whole clips can be.

    Raises:
        InputError: these are too few.
    """
    count = round(share * len(train))
    if count < FEWEST_CLIPS:
        raise InputError(
            f"{share:.0%} of {len(train)} training clips are {count}: "
            f"a probe needs at least {FEWEST_CLIPS}."
        )
    draws = np.random.default_rng(seed)
    order = draws.permutation(len(train))
    if isinstance(task, Classification):
        order = order[_spread_classes(train.label(task.name)[order], draws)]
    return train.subset(order[:count])


def _spread_classes(
    labels: Int64[np.ndarray, " n"], draws: np.random.Generator
) -> Int64[np.ndarray, " n"]:
    """An order in which every beginning holds each class as often as its share of all says."""
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    grouped = np.argsort(classes, kind="stable")
    rank = np.empty(len(labels))
    rank[grouped] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.argsort((rank + draws.random(len(counts))[classes]) / counts[classes], kind="stable")


def table(
    scores: Mapping[Trial, Scores], train: Tokens, test: Tokens, tasks: Sequence[Task]
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
        "accuracy": share_interval(means[ours]),
        "by_seed": by_seed[ours].mean(axis=1).tolist(),
        "baselines": {model: share_interval(means[model]) for model in others},
        **{f"above_{model}": interval(means[ours] - means[model]) for model in others},
    }


CACHE = Path("runs/probe_cache")
PIXELS = ASSETS / "baselines" / "pixels"


def baselines_of(model: VJEPA) -> dict[str, FrozenModel]:
    """What a model is compared with: its random twin, and pixel prediction if it has its shape."""
    found: dict[str, FrozenModel] = {"random": random_twin(model)}
    if PIXELS.is_dir():
        twin = load_pixel_prediction(PIXELS)
        if twin.config == model.config:
            found["pixel"] = twin.to(model.device, model.dtype)
    return found


def probe_world(
    model: VJEPA,
    tasks: Sequence[str],
    probes: Sequence[str],
    *,
    level: int,
    train_clips: int,
    test_clips: int,
    seeds: Sequence[int],
    labels: Sequence[float] = (1.0,),
    others: Mapping[str, FrozenModel] | None = None,
    cache: Path = CACHE,
) -> list[dict]:
    """Probes a model and its baselines on the same clips of one of the worlds.

    Args:
        model: frozen.
        tasks, probes: names in WORLD_TASKS, or in PHYSICS_TASKS, and in PROBES; one result each
            pair and share of labels.
        level: difficulty of the drawn world.
        train_clips, test_clips: how many.
        seeds: of the labels that a share consists of, and of a probe's first weights.
        labels: shares of the training clips' labels that are learned from, 0..1.
        others: further models to compare with, by name.
        cache: folder of the features.

    Returns:
        what `compare.table` returns.

    Raises:
        InputError: an unknown task or probe, tasks of both worlds, too few clips, an impossible
            share; MuJoCo is missing for the physics world.
    """
    _check_names(tasks, probes)
    _check_runs(labels, seeds)
    if train_clips < 100 or test_clips < 10:
        raise InputError("A probe needs at least 100 training clips and 10 test clips.")
    models = {"model": model, **baselines_of(model), **(others or {})}
    counts = {"train": train_clips, "test": test_clips}
    train, test = (
        encode(models, labelled_clips(tasks, level, split, count, model.config), cache)
        for split, count in counts.items()
    )
    world = {"level": level} if set(tasks) <= set(WORLD_TASKS) else {"world": "physics"}
    about = world | {f"{split}_clips": count for split, count in counts.items()}
    asked = [ALL_TASKS[name] for name in tasks]
    return [about | row for row in compare(train, test, asked, probes, labels, seeds)]


def labelled_clips(
    tasks: Sequence[str], level: int, split: str, count: int, config: ModelConfig
) -> LabelledClips:
    """Clips of the world that the tasks are asked of.

    Args:
        tasks: names in WORLD_TASKS, or in PHYSICS_TASKS.
        level: difficulty, which the drawn world has.
        split: "train" or "test".
        count: how many.
        config: gives their size.
    """
    if set(tasks) <= set(WORLD_TASKS):
        return LabelledWorld(level, split, count, config)
    return LabelledPhysics(split, count, config)


def probe_videos(
    model: VJEPA,
    train_videos: LabelledVideos,
    test_videos: LabelledVideos,
    probes: Sequence[str],
    *,
    clips: int,
    views: int,
    seeds: Sequence[int],
    labels: Sequence[float] = (1.0,),
    others: Mapping[str, FrozenModel] | None = None,
    cache: Path = CACHE,
) -> list[dict]:
    """Probes a model and its baselines on labelled videos, as the paper does.

    The clips of a video are encoded one by one and their tokens put side by side. A probe learns
    from the centre view; in the test its answers to all views are averaged.

    Args:
        model: frozen.
        train_videos, test_videos: with labels; the test has no class that training lacks.
        probes: names in PROBES.
        clips: how many of each video.
        views: crops of each test clip.
        seeds, labels, others, cache: as in `probe_world`.

    Raises:
        InputError: an unknown probe, an impossible share, fewer than two classes, a class that only
            the test has, videos without labels or none that can be read.
    """
    _check_names([], probes)
    _check_runs(labels, seeds)
    test_videos = require_classes(train_videos, test_videos)
    models = {"model": model, **baselines_of(model), **(others or {})}
    train = encode(models, LabelledVideoClips(train_videos, model.config, clips, views=1), cache)
    test = encode(models, LabelledVideoClips(test_videos, model.config, clips, views), cache)
    task = Classification("class", train_videos.classes)
    about = {
        "data": str(train_videos.origin),
        "classes": train_videos.classes,
        "train_clips": len(train["model"]),
    }
    return [about | row for row in compare(train, test, [task], probes, labels, seeds)]


def _check_names(tasks: Sequence[str], probes: Sequence[str]) -> None:
    for kind, given, known in (("task", tasks, ALL_TASKS), ("probe", probes, PROBES)):
        for name in given:
            if name not in known:
                raise InputError(f"There is no {kind} {name!r}; choose one of {', '.join(known)}.")
    if not any(set(tasks) <= set(world) for world in (WORLD_TASKS, PHYSICS_TASKS)):
        raise InputError(
            f"{', '.join(tasks)} are asked of clips of different worlds: ask for tasks of one."
        )


def _check_runs(labels: Sequence[float], seeds: Sequence[int]) -> None:
    if not labels or not seeds:
        raise InputError("Name at least one share of the labels and one seed.")
    for share in labels:
        if not 0 < share <= 1:
            raise InputError(f"A share of the labels must be above 0 and at most 1, not {share}.")
