"""Masks as a person draws them: what is hidden, what is scored, and who wins."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY

from decoder.explorer import Explorer
from decoder.network import TokenDecoder
from decoder.pipeline import make_pipeline
from decoder.scoring import hide, metrics
from decoder.scoring.held_out import ClipBatch, HeldOutPhysics, HeldOutWorld
from vjepa import masks
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import pixel_mask

CONFIG = replace(TINY, num_frames=16)
T, SIDE = CONFIG.num_frames, CONFIG.image_size


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def square(size=10, speed=1):
    """A bright square that moves to the right over a dark ground, and where it shows."""
    thing = torch.zeros(T, SIDE, SIDE, dtype=torch.bool)
    for t in range(T):
        left = min(4 + speed * t, SIDE - size)
        thing[t, 8 : 8 + size, left : left + size] = True
    frames = torch.where(thing[..., None], 220, 20).expand(-1, -1, -1, 3).to(torch.uint8)
    return frames, thing


@pytest.fixture
def batch():
    frames, thing = square()
    return ClipBatch(frames[None], thing=thing[None])


def test_the_thing_is_hidden_from_a_moment_on_and_seen_before(batch):
    starts = set()
    for seed in range(20):
        found, mask = hide.hide(batch, "thing", CONFIG, generator(seed))
        steps = mask.flatten(1).any(1)
        start = int(steps.nonzero()[0])
        starts.add(start)
        assert steps[start:].all()
        hidden, thing = pixel_mask(mask, CONFIG), batch.thing[0]
        assert (thing & ~hidden)[start * CONFIG.tubelet_size :].sum() == 0
        assert torch.equal(found.frames, batch.frames)
    assert starts == {2, 3, 4}


def test_a_still_clip_repeats_a_frame_whose_thing_is_hidden_from_the_third_step(batch):
    found, mask = hide.hide(batch, "still", CONFIG, generator())
    assert (found.frames == found.frames[:, :1]).all()
    assert not mask[:2].any() and mask[2].any()
    truth, hidden = found.frames[0].numpy(), pixel_mask(mask, CONFIG).numpy()
    copied = metrics.trivial_fills(truth, hidden)["temporal_copy"]
    assert (copied == truth).all()


def test_a_clip_without_a_thing_is_left_out():
    frames = torch.full((1, T, SIDE, SIDE, 3), 80, dtype=torch.uint8)
    assert hide.hide(ClipBatch(frames), "thing", CONFIG, generator()) is None
    nowhere = torch.zeros(1, T, SIDE, SIDE, dtype=torch.bool)
    assert hide.hide(ClipBatch(frames, thing=nowhere), "still", CONFIG, generator()) is None


def test_what_moves_is_found_without_labels():
    frames, thing = square(speed=2)
    noise = torch.randint(0, 9, frames.shape, generator=generator(), dtype=torch.uint8)
    found = hide.what_moves((frames + noise).numpy())
    overlap = (found & thing).sum() / (found | thing).sum()
    assert overlap > 0.7


def test_interpolation_finds_what_changes_evenly_and_keeps_the_end_that_there_is():
    ramp = np.arange(0, 160, 10, np.uint8)[:, None, None, None].repeat(3, 3)
    truth = np.broadcast_to(ramp, (16, 4, 4, 3)).copy()
    hidden = np.zeros((16, 4, 4), bool)
    hidden[5:9] = True
    assert (metrics.trivial_fills(truth, hidden)["interpolation"] == truth).all()
    hidden[5:] = True
    kept = metrics.trivial_fills(truth, hidden)["interpolation"]
    assert (kept[5:] == truth[4]).all() and (kept[:5] == truth[:5]).all()


@pytest.fixture(scope="module")
def explorer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TokenDecoder(CONFIG.grid, CONFIG.tubelet_dim, CONFIG.embed_dim, 32, 1, 2)
        return Explorer(VJEPA(CONFIG), make_pipeline(network))


def test_who_knows_the_truth_wins_and_who_copies_does_not(explorer, monkeypatch):
    clips = HeldOutWorld(6, (0,), CONFIG, generator())

    def draw(explorer, frames, mask, features, condition, seeds, steps):
        return frames

    monkeypatch.setattr(hide, "decode", draw)
    table = hide.score_kinds(explorer, clips, ("long", "thing", "still"), seed=0, steps=1)
    assert table["long"]["wins"] == 1 and table["long"]["predicted_minus_fill"]["mean"] > 5
    assert table["still"]["predicted_minus_ceiling"]["mean"] == 0
    assert table["still"]["wins"] == 0  # the copy is perfect there
    assert table["thing"]["thing_predicted_minus_fill"]["mean"] > 0


def test_kinds_are_scored_on_the_physics_world_with_its_labels(explorer):
    clips = HeldOutPhysics(2, CONFIG, generator())
    row = hide.score_kinds(explorer, clips, ("thing",), seed=0, steps=1)["thing"]
    assert row["clips"] and row["thing_predicted_minus_fill"]["ci95"][0] < 0
    assert torch.equal(clips.read([1]).frames[0], clips.read([0, 1]).frames[1])


def test_an_unknown_kind_is_a_sentence(explorer):
    clips = HeldOutWorld(2, (0,), CONFIG, generator())
    with pytest.raises(InputError, match="'ring'"):
        hide.score_kinds(explorer, clips, ("ring",), seed=0, steps=1)


def test_presets_are_held_against_each_clips_own_best_fill(explorer, monkeypatch):
    frames = {"moves": square(speed=2)[0].numpy(), "stays": square(speed=0)[0].numpy()}
    monkeypatch.setattr(hide, "decode", lambda explorer, frames, *rest: frames)
    table = hide.score_presets(explorer, frames, seed=0, steps=1)
    above = {(row["clip"], row["mask"]): row["above_fill"] for row in table["rows"]}
    assert len(above) == 2 * len(masks.MASKS)
    assert above["moves", "future"] > 5 and above["stays", "future"] == 0  # a copy is perfect
    assert table["wins"] == np.mean([gain > 0 for gain in above.values()])
