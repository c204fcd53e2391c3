"""Frozen evaluation: probes read what is there, and nothing from noise."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from conftest import write_classes
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression, RidgeCV
from tiny import TINY

import vjepa.__main__ as commands
from vjepa import checkpoint
from vjepa.analysis import fit, probe
from vjepa.analysis.features import Tokens
from vjepa.analysis.intervals import share_interval
from vjepa.analysis.linear import LogisticProbe, RidgeProbe
from vjepa.analysis.tasks import WORLD_TASKS, Location
from vjepa.baselines import random_twin
from vjepa.data.datasets import open_dataset
from vjepa.errors import InputError
from vjepa.model import VJEPA

MOTION, LOCATION = WORLD_TASKS["motion"], WORLD_TASKS["location"]
SIZES = {"level": 0, "train_clips": 100, "test_clips": 20, "seeds": (0,)}


@pytest.fixture
def model():
    return VJEPA(TINY).eval().requires_grad_(False)


@pytest.fixture
def few_steps(monkeypatch):
    """Probes that are trained for a moment."""
    recipe = fit.Recipe(steps=3, warmup=1)
    monkeypatch.setattr(probe, "fit", partial(fit.fit, recipe=recipe))


def tokens(separation, count=300, seed=0, views=1):
    """Clips of noise and of what their labels say, this `separation` times as loud."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(12, size=count)
    low = rng.uniform(0, 0.5, (count, 2))
    boxes = np.hstack([low, low + 0.4])
    pooled = rng.normal(size=(count, views, 24))
    pooled[..., :12] += separation * np.eye(12)[labels][:, None]
    pooled[..., 12:16] += separation * 4 * boxes[:, None]
    layout = [("motion", "i8"), ("location", "f4", 4), ("pooled", "f4", (views, 24))]
    records = np.zeros(count, layout)
    records["motion"], records["location"], records["pooled"] = labels, boxes, pooled
    return Tokens(records, np.arange(count))


def mean_score(task, kind, train, test):
    answers = probe.fit_estimator(task, kind, train, test)
    return task.score(answers.mean(1), test.label(task.name)).mean()


@pytest.mark.parametrize("kind", probe.FITTED)
@pytest.mark.parametrize("task", [MOTION, LOCATION], ids=lambda task: task.name)
def test_estimators_read_what_is_there_and_nothing_from_noise(task, kind):
    clear = mean_score(task, kind, tokens(8), tokens(8, seed=1))
    noise = mean_score(task, kind, tokens(0), tokens(0, seed=1))
    chance = task.chance(tokens(0).label(task.name), tokens(0, seed=1).label(task.name))
    assert clear > chance + (0.2 if task == LOCATION else 0.85)
    assert noise < chance + 0.1


def test_answers_to_all_views_are_averaged():
    """Two views of three say the right class, the third says another."""
    train, test = tokens(8), tokens(8, seed=1, views=3)
    test.records["pooled"][:, 2] = np.roll(test.records["pooled"][:, 0], 1, axis=0)
    answers = probe.fit_estimator(MOTION, "linear", train, test)
    right = MOTION.score(answers[:, 2], test.label("motion")).mean()
    assert right < 0.3
    assert mean_score(MOTION, "linear", train, test) > 0.9


def test_a_share_is_another_one_for_each_seed():
    train = tokens(0)
    shares = [set(probe.choose(train, 0.1, seed).rows) for seed in (0, 0, 1)]
    assert [len(share) for share in shares] == [30, 30, 30]
    assert shares[0] == shares[1] != shares[2]
    assert sorted(probe.choose(train, 1.0, 5).rows) == list(range(300))


def test_a_share_holds_every_class_as_often_as_all_do():
    train = tokens(0)
    everywhere = np.bincount(train.label("motion"), minlength=12)
    for seed in range(3):
        chosen = probe.choose(train, 0.2, seed, MOTION)
        found = np.bincount(chosen.label("motion"), minlength=12)
        assert np.abs(found - 0.2 * everywhere).max() <= 1 and len(chosen) == 60
    assert not np.array_equal(chosen.rows, probe.choose(train, 0.2, 0, MOTION).rows)


@pytest.mark.parametrize("right", [0, 1, 5, 9, 10])
def test_an_interval_of_shares_stays_within_0_and_1(right):
    """Wilson's, by scipy; certainty is not had from ten clips."""
    scores = np.repeat([1.0, 0.0], [right, 10 - right])
    low, high = share_interval(scores)["ci95"]
    expected = binomtest(right, 10).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-3)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("classes", [2, 5])
def test_the_linear_probe_is_scikit_learn_s(classes):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(80, 30)), rng.integers(classes, size=80)
    ours = LogisticProbe(C=0.1).fit(x, labels).predict_proba(x)
    theirs = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(x, labels).predict_proba(x)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    boxes, alphas = x[:, :4] + rng.normal(size=(80, 4)), tuple(np.logspace(0, 5, 11))
    ridge, known = RidgeProbe(alphas).fit(x, boxes), RidgeCV(alphas).fit(x, boxes)
    assert ridge.alpha_ == pytest.approx(known.alpha_)
    np.testing.assert_allclose(ridge.predict(x), known.predict(x), atol=1e-8)


def test_a_row_averages_seeds_clip_by_clip():
    scores = {
        ("model", 1.0, 0): {("motion", "knn"): np.array([1.0, 1.0, 0.0, 0.0])},
        ("model", 1.0, 1): {("motion", "knn"): np.array([1.0, 0.0, 1.0, 0.0])},
        ("random", 1.0, 0): {("motion", "knn"): np.array([0.0, 0.0, 0.0, 0.0])},
        ("random", 1.0, 1): {("motion", "knn"): np.array([1.0, 0.0, 0.0, 0.0])},
    }
    (row,) = probe.table(scores, tokens(0), tokens(0), [MOTION])
    assert row["accuracy"]["mean"] == 0.5
    of_clips = share_interval(np.array([1, 0.5, 0.5, 0]))  # of the four, not of eight scores
    assert row["accuracy"]["ci95"] == of_clips["ci95"]
    assert row["above_random"]["mean"] == pytest.approx(0.5 - 0.125)
    assert row["by_seed"] == [0.5, 0.5]


def test_the_twin_has_the_shape_and_other_weights(model):
    twin = random_twin(model)
    assert twin.config == model.config
    assert not torch.equal(twin.encoder.patch_embed.weight, model.encoder.patch_embed.weight)


def test_every_probe_serves_every_task(model, few_steps, tmp_path):
    tasks, probes = list(WORLD_TASKS), list(probe.PROBES)
    rows = probe.probe_world(model, tasks, probes, **SIZES, labels=(1.0, 0.5), cache=tmp_path)
    assert {(row["task"], row["probe"], row["labels"]) for row in rows} == {
        (task, name, share) for task in tasks for name in probes for share in (1.0, 0.5)
    }
    for row in rows:
        low, high = row["accuracy"]["ci95"]
        assert low <= row["accuracy"]["mean"] <= high
        random = row["baselines"]["random"]["mean"]
        assert row["above_random"]["mean"] == pytest.approx(row["accuracy"]["mean"] - random)
    json.dumps(rows)


@pytest.mark.parametrize(
    ("tasks", "probes", "changes", "says"),
    [
        (["smell"], ["knn"], {}, "no task 'smell'"),
        (["motion"], ["svm"], {}, "no probe 'svm'"),
        (["motion", "event"], ["knn"], {}, "different worlds"),
        (["motion"], ["knn"], {"train_clips": 3}, "at least 100"),
        (["motion"], ["knn"], {"labels": (0.0,)}, "above 0"),
        (["motion"], ["knn"], {"labels": (0.01,)}, "at least 10"),
        (["motion"], ["knn"], {"seeds": ()}, "one seed"),
    ],
)
def test_bad_input_gets_one_sentence(model, tmp_path, tasks, probes, changes, says):
    with pytest.raises(InputError, match=says) as caught:
        probe.probe_world(model, tasks, probes, **{**SIZES, **changes}, cache=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def videos(tmp_path):
    """Class folders of dark and of bright videos, one of them broken."""
    write_classes(tmp_path, {"train": 8, "test": 3}, length=10)
    (tmp_path / "train" / "dark" / "broken.mp4").write_bytes(b"no video")
    return tmp_path


def test_videos_are_probed_and_broken_ones_left_out(model, videos, tmp_path, caplog):
    sets = [open_dataset(videos, split=split) for split in ("train", "test")]
    sizes = {"clips": 2, "views": 3, "seeds": (0,), "cache": tmp_path / "cache"}
    for _ in range(2):  # the second time from the cache
        (row,) = probe.probe_videos(model, *sets, ["knn"], **sizes)
        assert row["accuracy"]["mean"] == 1.0
        assert (row["train_clips"], row["chance"]) == (16, 0.5)
    assert "broken.mp4" in caplog.text


def test_the_command_probes_labelled_videos(model, videos, tmp_path, capsys):
    checkpoint.save(model, tmp_path / "model")
    options = {"data": videos, "probe": "linear", "cache": tmp_path / "cache", "json_line": True}
    commands.probe(model=str(tmp_path / "model"), **options)
    row = json.loads(capsys.readouterr().out)
    assert row["task"] == "class"
    assert row["accuracy"]["mean"] == 1.0
    with pytest.raises(InputError, match="--image-weights"):
        commands.probe(image_backbone="resnet18", **options)


def test_videos_of_one_class_are_refused(videos):
    (videos / "one").mkdir()
    (videos / "train" / "dark").rename(videos / "one" / "dark")
    with pytest.raises(InputError, match="one class only"):
        commands.probe(data=videos / "one", test=videos / "test")


def test_a_box_in_the_middle_serves_no_one(model, few_steps, tmp_path):
    """What a probe says before it has learned is the best constant box, and so scores chance."""
    (row,) = probe.probe_world(model, ["location"], ["average"], **SIZES, cache=tmp_path)
    assert row["metric"] == Location.metric
    assert row["accuracy"]["mean"] == pytest.approx(row["chance"], abs=0.05)
