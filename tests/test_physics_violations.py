"""Impossible physics clips: what they share with possible ones, what is hidden, what differs."""

import pytest
import torch

from vjepa.errors import InputError
from vjepa.world.physics import PhysicsWorld
from vjepa.world.physics_violations import CASES, KINDS, draw_pairs

SIDE, FRAMES, SCENES = 56, 16, 1
SPLICED = [case for case in CASES if case[0] != "hang"]


def pairs_of(kind, hidden, seed=0, scenes=SCENES):
    world = PhysicsWorld(SIDE, FRAMES, split="test")
    return draw_pairs(world, kind, hidden, scenes, torch.Generator().manual_seed(seed))


def gap(pairs):
    """The largest difference of scenes A and B in every frame (n, T), in grey levels."""
    a, b = pairs.possible.int().unbind(1)
    return (a - b).abs().flatten(2).amax(-1)


@pytest.fixture(scope="module", params=SPLICED, ids=str)
def case(request):
    return request.param[1], pairs_of(*request.param)


def test_the_impossible_clips_are_made_of_the_very_frames_of_the_possible_ones(case):
    _, pairs = case
    before, after = slice(None, pairs.start), slice(pairs.start, None)
    assert torch.equal(pairs.impossible[:, :, after], pairs.possible[:, :, after])
    assert torch.equal(pairs.impossible[:, :, before], pairs.possible.flip(1)[:, :, before])


def test_behind_a_screen_the_splice_cannot_be_seen(case):
    hidden, pairs = case
    seam = gap(pairs)[:, pairs.start - 1 : pairs.start + 1]
    assert not hidden or (seam < 8).all()


def test_what_is_wrong_shows_at_first_and_at_last(case):
    _, pairs = case
    assert (gap(pairs)[:, [0, -1]] > 25).all()


def test_what_hangs_in_the_air_does_not_move_and_was_moving():
    pairs = pairs_of("hang", False)
    waits, stops = pairs.impossible.int().unbind(1)
    start = pairs.start
    assert torch.equal(waits[:, :start], waits[:, start : start + 1].expand_as(waits[:, :start]))
    assert torch.equal(stops[:, start:], stops[:, start - 1 : start].expand_as(stops[:, start:]))
    moved = (pairs.possible[:, :, start].int() - pairs.possible[:, :, start - 2].int()).abs()
    assert (moved.flatten(2).amax(-1) > 25).all()


def test_the_same_generator_state_gives_the_same_pairs():
    first, again, other = (pairs_of("change", True, seed, 1) for seed in (3, 3, 4))
    assert torch.equal(first.impossible, again.impossible)
    assert not torch.equal(first.impossible, other.impossible)


def test_bad_input_gets_a_sentence():
    world, generator = PhysicsWorld(SIDE, FRAMES), torch.Generator()
    with pytest.raises(InputError, match=r"explode.*vanish"):
        draw_pairs(world, "explode", False, 1, generator)
    with pytest.raises(InputError, match="unseen"):
        draw_pairs(world, "hang", True, 1, generator)
    with pytest.raises(InputError, match="at least one"):
        draw_pairs(world, "vanish", False, 0, generator)
    assert set(KINDS) == {kind for kind, _ in CASES}
