"""V-JEPA 2.1 from a file in the official layout: its numbers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import FOUR_LAYERS

import vjepa
from vjepa.checkpoint import peek_config
from vjepa.errors import InputError
from vjepa.vjepa2 import STRETCHED_SIDE, TAPPED_BLOCKS, VJEPA21, Predictor21

GOLDEN = Path(__file__).parent / "golden" / "vjepa21-a"
TOLERANCE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def model():
    return vjepa.load(GOLDEN / "checkpoint.pt", device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def expected():
    return load_file(GOLDEN / "expected.safetensors")


@pytest.mark.parametrize("kind", ["full", "wide", "image"])
def test_encoding_of_clips_of_any_shape_and_of_images(model, expected, kind):
    clip = {"full": "clip", "wide": "clip_wide", "image": "image"}[kind]
    torch.testing.assert_close(
        model.encode(expected[clip]), expected[f"encoder_{kind}"], **TOLERANCE
    )


def test_features_of_four_depths(model, expected):
    torch.testing.assert_close(
        model.encoder.multilayer(expected["clip"]), expected["encoder_multilevel"], **TOLERANCE
    )


@pytest.mark.parametrize("i", [0, 1, 2])
def test_context_and_prediction(model, expected, i):
    context_idx, target_idx = expected[f"context_idx_{i}"], expected[f"target_idx_{i}"]
    context = model.encode_context(expected["clip"], context_idx)
    torch.testing.assert_close(context, expected[f"context_{i}"], **TOLERANCE)
    torch.testing.assert_close(
        model.encoder.multilayer(expected["clip"], context_idx),
        expected[f"context_multilevel_{i}"],
        **TOLERANCE,
    )
    predictions = model.predict(context, context_idx, target_idx)
    torch.testing.assert_close(predictions, expected[f"prediction_{i}"], **TOLERANCE)
    _, seen = model.predictor(context, context_idx, target_idx)
    torch.testing.assert_close(seen, expected[f"prediction_context_{i}"], **TOLERANCE)


@pytest.mark.parametrize("i", [0, 1])
def test_another_mask_token(model, expected, i):
    names = (f"context_{i}", f"context_idx_{i}", f"target_idx_{i}")
    predictions = model.predict(*(expected[name] for name in names), mask_type=1)
    torch.testing.assert_close(predictions, expected[f"prediction_maskindex1_{i}"], **TOLERANCE)


def test_prediction_in_an_image(model, expected):
    context_idx, target_idx = expected["image_context_idx"], expected["image_target_idx"]
    context = model.encode_context(expected["image"], context_idx)
    torch.testing.assert_close(context, expected["context_image"], **TOLERANCE)
    predictions = model.predict(context, context_idx, target_idx, image=True)
    torch.testing.assert_close(predictions, expected["prediction_image"], **TOLERANCE)


@pytest.mark.parametrize("i", [0, 1])
def test_a_predictor_that_stretches_positions_as_in_training(model, expected, i):
    predictor = Predictor21(replace(model.config, predictor_side=STRETCHED_SIDE))
    predictor.load_state_dict(model.predictor.state_dict())
    names = (f"context_{i}", f"context_idx_{i}", f"target_idx_{i}")
    hidden, visible = predictor(*(expected[name] for name in names))
    torch.testing.assert_close(hidden, expected[f"prediction_interp_{i}"], **TOLERANCE)
    torch.testing.assert_close(visible, expected[f"prediction_context_interp_{i}"], **TOLERANCE)


def test_a_distilled_model_stands_in_for_its_teacher(model, expected):
    """Targets are what the predictor makes of the whole clip, in the predictions' space."""
    targets = model.target_features(expected["clip"])
    assert targets.shape == (2, 64, model.config.output_dim) == (2, 64, 80)
    everything = torch.arange(64).expand(2, -1)
    context = model.encode_context(expected["clip"], everything)
    _, seen = model.predictor(context, everything, everything[:, :0])
    torch.testing.assert_close(targets, seen)


def test_the_shape_is_read_from_the_tensors():
    config = peek_config(GOLDEN / "checkpoint.pt")
    assert config.family == "vjepa2.1"
    assert (config.depth, config.predictor_depth, config.num_mask_tokens) == (12, 4, 8)
    assert config.teacher_dim == 80


def test_a_missing_level_is_named(tmp_path):
    path = Path(shutil.copytree(GOLDEN, tmp_path / "model")) / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["ema_encoder"]["module.backbone.norms_block.2.bias"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"encoder.level_norms.2.bias"):
        vjepa.load(path)


def test_without_a_config_an_unpublished_width_is_refused(tmp_path):
    shutil.copy(GOLDEN / "checkpoint.pt", tmp_path)
    with pytest.raises(InputError, match="width that is not published"):
        vjepa.load(tmp_path / "checkpoint.pt")


def test_the_large_layout_predicts_four_levels_and_reads_back(tmp_path):
    """Written with the official names, read by `vjepa.load`: same predictions, no teacher."""
    torch.manual_seed(0)
    model = VJEPA21(FOUR_LAYERS).eval().requires_grad_(False)
    state = {
        "target_encoder": {f"module.backbone.{official(n)}": t for n, t in parts(model.encoder)},
        "predictor": {
            f"module.backbone.{official(n, predictor=True)}": t for n, t in parts(model.predictor)
        },
    }
    state["encoder"] = state["target_encoder"]
    torch.save(state, tmp_path / "vitg.pt")
    (tmp_path / "config.json").write_text(json.dumps(FOUR_LAYERS.to_dict()))
    read = vjepa.load(tmp_path / "vitg.pt", device="cpu", dtype=torch.float32)
    assert read.config == FOUR_LAYERS
    clip = torch.randn(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    idx = torch.arange(8)[None]
    context = read.encode_context(clip, idx[:, :5])
    assert context.shape[-1] == 4 * 24
    assert torch.equal(
        read.predict(context, idx[:, :5], idx[:, 5:]),
        model.predict(context, idx[:, :5], idx[:, 5:]),
    )
    assert torch.equal(
        read.target_features(clip)[..., -24:], F.layer_norm(read.encode(clip), (24,))
    )


def parts(module):
    return module.state_dict().items()


def official(name, *, predictor=False):
    """Our tensor names as the official code has them."""
    if predictor:
        kept = ("mask_tokens", "video_mod_embed", "img_mod_embed")
        return name if name.startswith(kept) else f"predictor_{name}"
    name = name.replace("patch_embed.", "patch_embed.proj.")
    name = name.replace("patch_embed_img.", "patch_embed_img.proj.")
    name = name.replace("level_norms.", "norms_block.")
    return f"norms_block.3.{name[5:]}" if name.startswith("norm.") else name


def test_the_layers_of_the_published_depths():
    assert TAPPED_BLOCKS[48] == (11, 23, 37, 47)
