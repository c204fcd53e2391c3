"""Frozen evaluation: what can be read from features that are no longer trained (paper, 4.3).

The same clips, the same labels and the same probes for a model and for what it is compared with.
The world's test clips show objects and panoramas that no training clip shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vjepa import pixels
from vjepa.analysis.compare import PROBES, compare
from vjepa.analysis.features import FrozenModel, encode
from vjepa.analysis.labelled import VideoClips, WorldClips
from vjepa.analysis.tasks import WORLD_TASKS, Classification
from vjepa.checkpoint import ASSETS
from vjepa.data.datasets import LabelledVideos, require_classes
from vjepa.errors import InputError
from vjepa.model import VJEPA

CACHE = Path("runs/probe_cache")
PIXELS = ASSETS / "baselines" / "pixels"


def random_twin(model: VJEPA, seed: int = 0) -> VJEPA:
    """A model of the same shape with fresh weights: the baseline that matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = type(model)(model.config)
    return twin.to(model.device, model.dtype).eval().requires_grad_(False)


def baselines(model: VJEPA) -> dict[str, FrozenModel]:
    """What a model is compared with: its random twin, and pixel prediction if it has its shape."""
    found: dict[str, FrozenModel] = {"random": random_twin(model)}
    if PIXELS.is_dir():
        twin = pixels.load(PIXELS)
        if twin.config == model.config:
            found["pixel"] = twin.to(model.device, model.dtype)
    return found


def evaluate(
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
    """Probes a model and its baselines on the same clips of the world.

    Args:
        model: frozen.
        tasks, probes: names in WORLD_TASKS and PROBES; one result each pair and share of labels.
        level: difficulty of the world.
        train_clips, test_clips: how many.
        seeds: of the labels that a share consists of, and of a probe's first weights.
        labels: shares of the training clips' labels that are learned from, 0..1.
        others: further models to compare with, by name.
        cache: folder of the features.

    Returns:
        what `compare.table` returns.

    Raises:
        InputError: an unknown task or probe, too few clips, an impossible share.
    """
    _check_names(tasks, probes)
    _check_runs(labels, seeds)
    if train_clips < 100 or test_clips < 10:
        raise InputError("A probe needs at least 100 training clips and 10 test clips.")
    models = {"model": model, **baselines(model), **(others or {})}
    train = encode(models, WorldClips(level, "train", train_clips, model.config), cache)
    test = encode(models, WorldClips(level, "test", test_clips, model.config), cache)
    about = {"level": level, "train_clips": train_clips, "test_clips": test_clips}
    asked = [WORLD_TASKS[name] for name in tasks]
    return [about | row for row in compare(train, test, asked, probes, labels, seeds)]


def evaluate_videos(
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
        seeds, labels, others, cache: as in `evaluate`.

    Raises:
        InputError: an unknown probe, an impossible share, fewer than two classes, a class that only
            the test has, videos without labels or none that can be read.
    """
    _check_names([], probes)
    _check_runs(labels, seeds)
    test_videos = require_classes(train_videos, test_videos)
    models = {"model": model, **baselines(model), **(others or {})}
    train = encode(models, VideoClips(train_videos, model.config, clips, views=1), cache)
    test = encode(models, VideoClips(test_videos, model.config, clips, views), cache)
    task = Classification("class", train_videos.classes)
    about = {"data": str(train_videos.source), "train_clips": len(train["model"])}
    return [about | row for row in compare(train, test, [task], probes, labels, seeds)]


def _check_names(tasks: Sequence[str], probes: Sequence[str]) -> None:
    for kind, given, known in (("task", tasks, WORLD_TASKS), ("probe", probes, PROBES)):
        for name in given:
            if name not in known:
                raise InputError(f"There is no {kind} {name!r}; choose one of {', '.join(known)}.")


def _check_runs(labels: Sequence[float], seeds: Sequence[int]) -> None:
    if not labels or not seeds:
        raise InputError("Name at least one share of the labels and one seed.")
    for share in labels:
        if not 0 < share <= 1:
            raise InputError(f"A share of the labels must be above 0 and at most 1, not {share}.")
