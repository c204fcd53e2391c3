"""Similarity: what is recovered, what changes nothing, and what the baselines can do."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from tiny import TINY

from vjepa.analysis import following
from vjepa.analysis.following import (
    FollowedObject,
    cosine,
    coverage,
    directions,
    jaccard,
    neighbourhood,
    propagate,
    score_following,
    track,
)
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.world.world import World

GRID = (6, 5, 7)


def walking_object(seed=0, dim=64):
    """Tokens of a 2 x 2 object that walks one patch a step over a varied ground, and where it is.

    Every token shares a large common part, as a model's do.
    """
    t, h, w = GRID
    draw = torch.Generator().manual_seed(seed)
    common, thing = torch.randn(2, dim, generator=draw)
    ground = torch.randn(h, w, dim, generator=draw)
    features = ground.expand(t, -1, -1, -1).clone()
    truth = torch.zeros(GRID, dtype=torch.bool)
    for step in range(t):
        truth[step, 1:3, step : step + 2] = True
    features[truth] = 3 * thing
    features += 0.3 * torch.randn(features.shape, generator=draw) + 5 * common
    return features.flatten(0, 2), truth


def test_an_object_is_carried_through_the_clip_from_any_step():
    features, truth = walking_object()
    for step in (0, 3, 5):
        soft = propagate(directions(features), truth[step], step, GRID)
        assert torch.equal(soft[step], truth[step].float())
        assert torch.equal(soft > 0.5, truth), step


def test_labels_are_shares():
    features = torch.randn(*GRID, 16, generator=torch.Generator().manual_seed(1)).flatten(0, 2)
    chosen = torch.rand(GRID[1:], generator=torch.Generator().manual_seed(2)) < 0.3
    object_, rest = (propagate(directions(features), c, 2, GRID) for c in (chosen, ~chosen))
    assert object_.min() >= 0
    assert torch.allclose(object_ + rest, torch.ones(GRID), atol=1e-5)


def test_time_runs_either_way():
    features, truth = walking_object(seed=3)
    backwards = features.view(*GRID, -1).flip(0).flatten(0, 2)
    there = propagate(directions(features), truth[1], 1, GRID)
    back = propagate(directions(backwards), truth[1], GRID[0] - 2, GRID)
    assert torch.allclose(there, back.flip(0), atol=1e-5)


def test_a_patch_is_followed_and_never_leaps():
    features, truth = walking_object()
    t, h, w = GRID
    token = (2 * h + 1) * w + 2  # the upper left corner of the object at step 2
    path = track(directions(features), token, GRID)
    assert path[2] == token
    assert truth.flatten()[path].all()
    assert torch.equal(path // (h * w), torch.arange(t))
    rows, columns = path % (h * w) // w, path % w
    assert rows.diff().abs().max() <= following.RADIUS
    assert columns.diff().abs().max() <= following.RADIUS


def test_what_all_tokens_share_changes_no_centred_direction():
    features, _ = walking_object()
    shifted = features + torch.randn(features.shape[-1], generator=torch.Generator())
    assert torch.allclose(directions(features), directions(shifted), atol=1e-4)
    plain = directions(features, centred=False)
    assert not torch.allclose(plain, directions(shifted, centred=False), atol=1e-2)


def test_cosine_is_one_to_itself_and_the_same_both_ways():
    ways = directions(walking_object()[0])
    assert cosine(ways, 8)[8] == pytest.approx(1, abs=1e-5)
    assert cosine(ways, 8)[20] == pytest.approx(cosine(ways, 20)[8].item(), abs=1e-6)
    assert cosine(ways, 8).abs().max() <= 1 + 1e-5


def test_neighbours_are_the_patches_around():
    near = neighbourhood(3, 4, radius=1)
    assert near[5].view(3, 4).tolist() == [[True, True, True, False]] * 3
    assert near[0].sum() == 4
    assert torch.equal(near, near.T)


def test_jaccard_is_that_of_scikit_learn_and_two_empty_frames_agree():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.rand(4, 5, 6, generator=draw) < 0.4 for _ in range(2))
    a[3] = b[3] = False
    expected = [jaccard_score(x.flatten(), y.flatten()) for x, y in zip(a[:3], b[:3], strict=True)]
    np.testing.assert_allclose(jaccard(a, b), [*expected, 1.0], rtol=1e-6)


def test_coverage_counts_the_pixels_of_each_tubelet():
    actor = torch.zeros(TINY.num_frames, TINY.image_size, TINY.image_size, dtype=torch.bool)
    actor[2, 12:24, 0:6] = True  # in one frame of two, half of a patch
    shares = coverage(actor, TINY)
    assert shares[1, 1, 0] == pytest.approx(0.25)
    assert shares.sum() == pytest.approx(0.25)


def test_features_that_know_the_actor_follow_it_and_staying_loses_it():
    world = World(1, TINY.image_size, TINY.num_frames, split="test")
    covered = coverage(world.sample(24, torch.Generator().manual_seed(0)).actor, TINY)
    choices = [FollowedObject.of(shares) for shares in covered if (shares > 0.5).any()]
    knowing = [torch.stack([c.truth, ~c.truth], -1).flatten(0, 2).float() for c in choices]
    scores = [c.score_features(f) for c, f in zip(choices, knowing, strict=True)]
    still = [choice.score_still() for choice in choices]
    assert len(choices) > 12
    (overlap, hits), (overlap_still, hits_still) = np.mean(scores, 0), np.mean(still, 0)
    assert overlap > overlap_still + 0.05
    assert hits > hits_still


def test_the_same_seed_gives_the_same_scores():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VJEPA(TINY)
    first, again = (
        score_following({"model": model}, TINY, clips=4, level=1, seed=2) for _ in range(2)
    )
    assert first == again


def test_bad_input_gets_a_sentence():
    with pytest.raises(InputError, match="choose at least one"):
        propagate(torch.zeros(210, 4), torch.zeros(5, 7, dtype=torch.bool), 0, GRID)
    with pytest.raises(InputError, match="at least one"):
        score_following({}, TINY, clips=0)
