"""The judge of short runs tells a model that knows a hidden thing from one that does not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY

from benchmarks import physics_trial
from benchmarks.physics_trial import KINDS, judge, steps_within
from decoder.scoring.held_out import HeldOutPhysics
from vjepa.config import SHAPES
from vjepa.model import VJEPA
from vjepa.recipes import PretrainConfig
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


def test_a_run_of_a_second_has_as_many_steps_as_fit_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr(physics_trial, "PACED", 2)
    monkeypatch.chdir(tmp_path)
    config = PretrainConfig(out=Path("run"), data="world", preset="tiny", batch_size=2, warmup=1)
    once, often = (steps_within(minutes, config) for minutes in (1, 20))
    assert 1 < once < often
    assert not list(tmp_path.iterdir())
