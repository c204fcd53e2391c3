"""The read-out tells a model that predicts from one that does not."""

import pytest
import torch
from tiny import TINY

from benchmarks.compare_recipes import pixel_readout
from vjepa.model import VJEPA
from vjepa.world.world import World


@pytest.fixture(scope="module")
def clips():
    generator = torch.Generator().manual_seed(0)
    worlds = [World(0, TINY.image_size, TINY.num_frames, split) for split in ("train", "test")]
    return [world.sample(96, generator).frames for world in worlds]


def read(model, clips):
    return pixel_readout(model.eval(), *clips, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VJEPA(TINY)


def test_true_features_tell_the_pixels_and_constant_predictions_nothing(model, clips):
    with torch.no_grad():
        model.predictor.proj.weight.zero_()
    result = read(model, clips)
    assert result.true > result.nothing + 2
    assert result.predicted == pytest.approx(result.nothing, abs=0.05)


def test_a_perfect_predictor_reaches_the_ceiling(model, clips, monkeypatch):
    seen = {}
    original = model.target_features
    monkeypatch.setattr(model, "target_features", lambda x: seen.setdefault(len(seen), original(x)))
    monkeypatch.setattr(
        model,
        "predict",
        lambda context, context_idx, idx, kind: seen[max(seen)].gather(
            1, idx[..., None].expand(-1, -1, TINY.embed_dim)
        ),
    )
    result = read(model, clips)
    assert result.predicted == pytest.approx(result.true, abs=1e-4)
    assert result == read(model, clips)
