"""Surprise: what it is made of, what it cannot know, and what a comparison cancels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from tiny import TINY

from vjepa.analysis.surprise import (
    MASK_TYPE,
    NEAREST,
    compare,
    curve,
    pixel_change,
    score_surprise,
    surprise,
    wilson,
)
from vjepa.baselines import PixelPrediction, normalize_tubelets
from vjepa.data.clips import normalize
from vjepa.errors import InputError
from vjepa.masks import MaskBatch, future
from vjepa.model import VJEPA
from vjepa.tokens import patchify, split, take
from vjepa.world import physics_violations

FOUR_STEPS = replace(TINY, num_frames=8)
T = FOUR_STEPS.grid[0]


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VJEPA(FOUR_STEPS).eval()


@pytest.fixture
def clips():
    frames = torch.randint(256, (3, 8, 48, 48, 3), generator=torch.Generator().manual_seed(0))
    return normalize(frames.byte())


def loss_after(model, clips, keep):
    """The training objective with everything after the first `keep` steps hidden."""
    idx = [each.expand(len(clips), -1) for each in split(future(model.grid, keep))]
    return model.loss(clips, [MaskBatch(*idx, MASK_TYPE)]).item()


def test_the_last_step_s_surprise_is_the_training_loss_of_its_mask(model, clips):
    found = curve(surprise(model, clips, horizon=1))
    assert found[:, -1].mean() == pytest.approx(loss_after(model, clips, T - 1), rel=1e-5)


def test_pixel_prediction_is_surprised_by_pixels_that_it_did_not_predict(clips):
    model = PixelPrediction(FOUR_STEPS).eval()
    context_idx, target_idx = (i.expand(len(clips), -1) for i in split(future(model.grid, T - 1)))
    hidden = take(normalize_tubelets(patchify(clips, FOUR_STEPS)), target_idx)
    context = model.encoder(clips, context_idx)
    error = (model.predictor(context, context_idx, target_idx, MASK_TYPE) - hidden).abs().mean(-1)
    found = surprise(model, clips, horizon=1)[:, -1].flatten(1)
    torch.testing.assert_close(found, error)


def test_nothing_can_be_predicted_before_the_first_step(model, clips):
    found = surprise(model, clips)
    assert found[:, 0].isnan().all()
    assert found[:, 1:].isfinite().all()


def test_what_one_forecast_foresaw_hardly_surprises(model, clips):
    """A token's surprise is the power mean of its distances to the forecasts of its time step."""
    targets, errors = model.target_features(clips), []
    for keep in range(1, T):
        context_idx, target_idx = (
            idx.expand(len(clips), -1) for idx in split(future(model.grid, keep))
        )
        context = model.encode_context(clips, context_idx)
        predictions = model.predict(context, context_idx, target_idx, MASK_TYPE)
        error = (predictions - take(targets, target_idx)).abs().mean(-1)
        errors.append(error[:, -model.grid[1] * model.grid[2] :])
    found = surprise(model, clips, horizon=T)[:, -1].flatten(1)
    average = torch.stack(errors).pow(NEAREST).mean(0).pow(1 / NEAREST)
    torch.testing.assert_close(found, average)
    nearest, mean = torch.stack(errors).amin(0), torch.stack(errors).mean(0)
    assert (nearest <= found + 1e-6).all() and (found <= mean + 1e-6).all()
    alone = surprise(model, clips, horizon=1)[:, -1].flatten(1)
    torch.testing.assert_close(alone, errors[-1])


def test_a_prediction_knows_nothing_of_the_future(model, clips, monkeypatch):
    still = torch.zeros(3, FOUR_STEPS.num_tokens, FOUR_STEPS.embed_dim)
    monkeypatch.setattr(model.target_encoder, "forward", lambda clips: still)  # targets do know
    changed = clips.clone()
    changed[:, :, 2 * FOUR_STEPS.tubelet_size :] = 0  # from the third step on
    before, after = surprise(model, clips, horizon=1), surprise(model, changed, horizon=1)
    assert torch.equal(before[:, 1:3], after[:, 1:3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_sets_cancel_what_first_and_second_halves_do_on_their_own():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 10, (2, 500, 2))
    possible = first + second
    impossible = first[:, ::-1] + second + 0.1
    scores = compare(possible, impossible)
    assert scores["sets"]["mean"] == 1
    assert scores["pairs"]["mean"] == pytest.approx(0.5, abs=0.02)


def test_ties_count_half_and_chance_is_half():
    same = np.ones((10, 2))
    assert compare(same, same)["sets"]["mean"] == 0.5
    assert compare(same, same)["pairs"]["mean"] == 0.5
    possible, impossible = np.random.default_rng(1).normal(size=(2, 2000, 2))
    for score in compare(possible, impossible).values():
        assert score["ci95"][0] < 0.5 < score["ci95"][1]


def test_the_interval_is_wilson_s():
    for hits in (0, 3, 17, 20):
        shares = (np.arange(20) < hits).astype(float)
        expected = binomtest(hits, 20).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(wilson(shares)["ci95"], expected, atol=1e-4)


def test_pixel_change_counts_changes_alone():
    frames = torch.zeros(2, 4, 3, 3, 3, dtype=torch.uint8)
    frames[1, 2, 0, 0, 0] = 200  # comes and goes
    assert pixel_change(frames).tolist() == [0, 400]


def test_pixels_tell_violations_in_plain_view_and_none_behind_a_post(model):
    rows = score_surprise(model, 8, torch.Generator().manual_seed(0))
    assert len({(row["kind"], row["hidden"]) for row in rows}) == len(rows) == 6
    for row in rows:
        accuracy = row["pixels"]["sets"]["mean"]
        assert (0.1 < accuracy < 0.9) if row["hidden"] else (accuracy > 0.9), row


def test_bad_input_gets_a_sentence(model, clips):
    with pytest.raises(InputError, match="horizon"):
        surprise(model, clips, horizon=0)
    with pytest.raises(InputError, match="horizon"):
        score_surprise(model, 1, torch.Generator(), horizon=0)
    with pytest.raises(InputError, match="at least one"):
        score_surprise(model, 0, torch.Generator())
    with pytest.raises(InputError, match="tubelets"):
        score_surprise(VJEPA(replace(TINY, num_frames=6)), 1, torch.Generator())


def test_physics_scenes_are_scored_by_kind_in_plain_view_and_behind_a_screen():
    model = VJEPA(replace(TINY, num_frames=16)).eval()
    rows = score_surprise(model, 1, torch.Generator().manual_seed(0), "physics")
    assert [(row["kind"], row["hidden"]) for row in rows] == list(physics_violations.CASES)
    assert all(0 <= row["model"]["sets"]["mean"] <= 1 for row in rows)
    with pytest.raises(InputError, match="'moon'"):
        score_surprise(model, 1, torch.Generator(), "moon")
