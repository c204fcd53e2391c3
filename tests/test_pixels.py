"""Pixel prediction, the baseline: everything is V-JEPA's but what is predicted."""

from pathlib import Path

import pytest
import torch
from tiny import TINY

from vjepa import baselines, checkpoint, config, masks
from vjepa.baselines import PixelPrediction, normalize_tubelets
from vjepa.beginning import fresh
from vjepa.errors import InputError
from vjepa.masks import MaskBatch
from vjepa.recipes import PretrainConfig
from vjepa.tokens import patchify, pixel_mask, split, unpatchify


@pytest.fixture
def model():
    torch.manual_seed(0)
    return PixelPrediction(TINY)


@pytest.fixture
def clip():
    return torch.randn(1, 3, 4, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask():
    return masks.random(TINY.grid, 0.5, generator=torch.Generator().manual_seed(2))


def test_it_starts_from_the_encoder_that_v_jepa_starts_from(monkeypatch):
    monkeypatch.setitem(config.SHAPES, "tiny", TINY)
    recipe = {"out": Path("unused"), "preset": "tiny", "seed": 3}
    ours = fresh(PretrainConfig(**recipe)).encoder.state_dict()
    baseline = fresh(PretrainConfig(**recipe, objective="pixels")).encoder.state_dict()
    assert ours.keys() == baseline.keys()
    assert all(torch.equal(ours[name], baseline[name]) for name in ours)


def test_targets_know_texture_but_not_brightness_or_contrast(clip):
    tubelets = patchify(clip, TINY)
    normed = normalize_tubelets(tubelets)
    torch.testing.assert_close(normalize_tubelets(3 * tubelets + 7), normed, atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.mean(-1), torch.zeros_like(normed[..., 0]), atol=1e-5, rtol=0)


def test_the_loss_is_the_error_of_the_hidden_pixels_alone(model, clip, mask):
    context_idx, target_idx = split(mask)
    batch = MaskBatch(context_idx, target_idx, "long")
    context = model.encoder(clip, context_idx)
    predicted = model.predictor(context, context_idx, target_idx, "long")

    # a clip that holds the prediction behind the mask, and is itself elsewhere
    right = patchify(clip, TINY).index_copy(1, target_idx[0], predicted.detach())
    unknown = normalize_tubelets(predicted) - predicted  # the targets are normed again
    (loss,) = model.loss(unpatchify(right, TINY), [batch])
    assert loss.item() == pytest.approx(unknown.square().mean().item(), rel=1e-4)

    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(3))
    hidden = pixel_mask(mask, TINY)
    changed = torch.where(hidden, noise, clip)
    torch.testing.assert_close(model.encoder(changed, context_idx), context, rtol=0, atol=0)
    assert model.loss(changed, [batch]) != model.loss(clip, [batch])


def test_a_saved_model_encodes_as_before_and_is_no_other_model(model, clip, tmp_path):
    checkpoint.save(model, tmp_path, dtype=torch.float32)
    loaded = baselines.load_pixel_prediction(tmp_path)
    torch.testing.assert_close(loaded.encode(clip), model.encode(clip), rtol=0, atol=0)
    with pytest.raises(InputError, match="target_encoder"):
        checkpoint.load(tmp_path)


def test_an_unknown_objective_gets_a_sentence(tmp_path):
    with pytest.raises(InputError, match="features or pixels"):
        PretrainConfig(out=tmp_path, objective="words")
