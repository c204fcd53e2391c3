"""The judge of short runs tells a model that knows a hidden thing from one that does not."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY

from benchmarks.physics_trial import KINDS, judge
from decoder.scoring.held_out import HeldOutPhysics
from vjepa.model import VJEPA
from vjepa.tokens import take
from vjepa.world.physics import PhysicsWorld

CONFIG = replace(TINY, num_frames=8)


@pytest.fixture(scope="module")
def train():
    world = PhysicsWorld(CONFIG.image_size, CONFIG.num_frames)
    return world.sample(12, torch.Generator().manual_seed(0)).frames.numpy()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VJEPA(CONFIG).eval().requires_grad_(False)


def test_who_knows_what_is_hidden_is_judged_better(model, train, monkeypatch):
    clips = HeldOutPhysics(4, CONFIG, torch.Generator().manual_seed(1))
    blind = judge(model, train, clips)
    seen = []
    monkeypatch.setattr(
        model, "encode_context", lambda pixels, idx: seen.append(model.target_features(pixels))
    )
    monkeypatch.setattr(model, "predict", lambda context, idx, hidden: take(seen[-1], hidden))
    knowing = judge(model, train, clips)
    assert set(blind) <= set(KINDS) and set(knowing) == set(blind)
    for kind, row in knowing.items():
        assert row["predicted"] > blind[kind]["predicted"] + 0.5
        assert row["copied"] == blind[kind]["copied"]
