"""Possible and impossible clips: what they share, what is hidden, what differs."""

import pytest
import torch

from vjepa.errors import InputError
from vjepa.world.violations import KINDS, draw_pairs
from vjepa.world.world import World

SIDE, FRAMES, SCENES = 64, 16, 6


def pairs_of(kind, hidden, seed=0):
    world = World(4, image_size=SIDE, num_frames=FRAMES, split="test")
    return draw_pairs(world, kind, hidden, SCENES, torch.Generator().manual_seed(seed))


def gap(pairs):
    """The largest difference of scenes A and B in every frame (n, T), in grey levels."""
    a, b = pairs.possible.int().unbind(1)
    return (a - b).abs().flatten(2).amax(-1)


@pytest.fixture(scope="module", params=[(k, h) for k in KINDS for h in (False, True)], ids=str)
def case(request):
    kind, hidden = request.param
    return kind, hidden, pairs_of(kind, hidden)


def test_the_impossible_clips_are_made_of_the_very_frames_of_the_possible_ones(case):
    _, _, pairs = case
    before, after = slice(None, pairs.start), slice(pairs.start, None)
    assert torch.equal(pairs.impossible[:, :, after], pairs.possible[:, :, after])
    assert torch.equal(pairs.impossible[:, :, before], pairs.possible.flip(1)[:, :, before])


def test_behind_a_post_the_splice_cannot_be_seen_and_in_plain_view_it_can(case):
    _, hidden, pairs = case
    seam = gap(pairs)[:, pairs.start - 1 : pairs.start + 1]
    assert (seam < 8).all() if hidden else (seam > 40).all()


def test_what_is_wrong_shows_on_either_side_of_the_splice(case):
    _, _, pairs = case
    assert (gap(pairs)[:, [0, -1]] > 40).all()


def test_scenes_differ_in_the_actor_alone(case):
    _, _, pairs = case
    a, b = pairs.possible.int().unbind(1)
    changed = ((a - b).abs().amax(-1) > 8).flatten(2).float().mean(-1)  # (n, T)
    assert changed.max() < 0.25


def test_the_same_generator_state_gives_the_same_pairs():
    first, again, other = (pairs_of("change", True, seed) for seed in (3, 3, 4))
    assert torch.equal(first.impossible, again.impossible)
    assert not torch.equal(first.impossible, other.impossible)


def test_a_vanished_actor_leaves_an_empty_scene_and_a_teleported_one_does_not():
    for kind, still_moves in (("vanish", False), ("teleport", True)):
        world = World(4, image_size=SIDE, num_frames=FRAMES, split="test")
        scene = world.draw(SCENES, torch.Generator().manual_seed(0))
        a, b = (world.render(each) for each in KINDS[kind](world.stage, scene, dice_of(world)))
        assert a.actor.any()
        assert bool(b.actor.any()) == still_moves


def dice_of(world):
    from vjepa.world.scene import Dice

    return Dice(torch.Generator().manual_seed(1), world.device)


def test_bad_input_gets_a_sentence():
    generator = torch.Generator()
    with pytest.raises(InputError, match=r"explode.*vanish"):
        draw_pairs(World(4), "explode", False, 1, generator)
    with pytest.raises(InputError, match="no posts"):
        draw_pairs(World(3), "vanish", True, 1, generator)
    with pytest.raises(InputError, match="at least one"):
        draw_pairs(World(4), "vanish", True, 0, generator)
