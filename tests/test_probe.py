"""Probes: they read what is there, and nothing from noise; test objects are held out."""

import numpy as np
import pytest
import torch
from tiny import TINY

from vjepa.analysis import probe
from vjepa.errors import InputError
from vjepa.model import VJEPA


def features(separation, count=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 12, count)
    centres = np.eye(12, 16) * separation
    return probe.Features(
        {"model": centres[labels] + rng.normal(size=(count, 16))}, {"appearance": labels}
    )


@pytest.mark.parametrize("name", probe.PROBES)
def test_probes_read_what_is_there_and_nothing_from_noise(name):
    clear = probe.hits(features(8), features(8, seed=1), "model", "appearance", name)
    noise = probe.hits(features(0), features(0, seed=1), "model", "appearance", name)
    assert clear.mean() > 0.95
    assert noise.mean() < 0.2


def test_pooling_ignores_the_order_of_tokens():
    tokens = torch.randn(2, 10, 4)
    torch.testing.assert_close(probe.pool(tokens), probe.pool(tokens[:, torch.randperm(10)]))


def test_the_twin_has_the_shape_and_other_weights():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = VJEPA(TINY)
    twin = probe.random_twin(model)
    assert twin.config == model.config
    assert not torch.equal(twin.encoder.patch_embed.weight, model.encoder.patch_embed.weight)


def test_a_result_has_intervals_and_a_baseline():
    sizes = {"level": 0, "train_clips": 100, "test_clips": 20, "seeds": (0,)}
    (row,) = probe.evaluate(VJEPA(TINY).eval(), ["motion"], ["knn"], **sizes)
    low, high = row["accuracy"]["ci95"]
    assert low <= row["accuracy"]["mean"] <= high
    assert row["chance"] == pytest.approx(1 / 12)
    random = row["baselines"]["random"]["mean"]
    assert row["above_random"]["mean"] == pytest.approx(row["accuracy"]["mean"] - random)


@pytest.mark.parametrize(
    ("tasks", "probes", "count"),
    [(["smell"], ["knn"], 200), (["motion"], ["svm"], 200), (["motion"], ["knn"], 3)],
)
def test_bad_input_gets_one_sentence(tasks, probes, count):
    with pytest.raises(InputError) as caught:
        probe.evaluate(
            VJEPA(TINY), tasks, probes, level=0, train_clips=count, test_clips=20, seeds=(0,)
        )
    assert "\n" not in str(caught.value)
