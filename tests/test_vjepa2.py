"""V-JEPA 2 from a transformers folder: its numbers, and the leak that its order of work has."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vjepa
from vjepa.errors import InputError
from vjepa.tokens import split, take

GOLDEN = Path(__file__).parent / "golden" / "vjepa2-a"
TOLERANCE = {"atol": 1e-4, "rtol": 0}


def load(source=GOLDEN, **kwargs):
    return vjepa.load(source, device="cpu", dtype=torch.float32, **kwargs)


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def expected():
    found = load_file(GOLDEN / "expected.safetensors")
    return {**found, "clip": found["clip_btchw"].transpose(1, 2)}


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "model"))


def test_the_encoding_is_that_of_transformers(model, expected):
    torch.testing.assert_close(
        model.encode(expected["clip"]), expected["encoder_full"], **TOLERANCE
    )


def test_predictions_are_those_of_transformers(model, expected):
    """From its own context: that of the whole clip's encoding."""
    context_idx, target_idx = expected["context_idx"], expected["target_idx"]
    context = take(expected["encoder_full"], context_idx)
    predictions = model.predict(context, context_idx, target_idx)
    torch.testing.assert_close(predictions, expected["predictor_output"], **TOLERANCE)


def test_hidden_pixels_reach_no_context_feature(model, expected):
    """Exactly none of them; encoding first and gathering afterwards lets them through."""
    mask = vjepa.masks.multiblock(model.grid, "short", generator=torch.Generator().manual_seed(0))
    context_idx, _ = (idx.expand(2, -1) for idx in split(mask))
    clip, changed = expected["clip"], repaint(expected["clip"], mask, model.config.patch_size)
    ours = [model.encode_context(pixels, context_idx) for pixels in (clip, changed)]
    assert torch.equal(*ours)
    gathered = [take(model.encode(pixels), context_idx) for pixels in (clip, changed)]
    assert (gathered[0] - gathered[1]).abs().max() > 0.01


def repaint(clip, mask, side):
    """The clip with other pixels where the mask hides them."""
    hidden = mask.repeat_interleave(2, 0).repeat_interleave(side, 1).repeat_interleave(side, 2)
    return torch.where(hidden, clip.flip(-1) + 1, clip)


def test_other_clip_sizes_keep_what_does_not_move(expected):
    """Rotations know only how far tokens lie apart, so fewer frames are those of a cut clip."""
    short = load(num_frames=4)
    assert short.grid == (2, 4, 4)
    whole = load()
    cut = expected["clip"][:, :, :4]
    idx = torch.arange(short.config.num_tokens).expand(2, -1)
    torch.testing.assert_close(short.encode(cut), whole.encode_context(expected["clip"], idx))


def test_a_mask_token_that_was_never_trained_is_not_used(folder, model, expected):
    tensors = load_file(folder / "model.safetensors")
    tokens = tensors["vjepa2.predictor.embeddings.mask_tokens"]
    tokens[1] = 0
    save_file(tensors, folder / "model.safetensors")
    other = load(folder)
    assert other.predictor.untrained_tokens() == (1,)
    asked = (expected["encoder_full"], *(torch.arange(3).expand(2, -1) + k for k in (0, 3)))
    asked = (asked[0][:, :3], *asked[1:])
    torch.testing.assert_close(other.predict(*asked), model.predict(*asked, mask_type=0))


def test_a_folder_of_the_model_alone(folder, model, expected):
    """Saved as VJEPA2Model: no probe, and no prefix."""
    tensors = load_file(folder / "model.safetensors")
    alone = {n.removeprefix("vjepa2."): t for n, t in tensors.items() if n.startswith("vjepa2.")}
    save_file(alone, folder / "model.safetensors")
    assert torch.equal(load(folder).encode(expected["clip"]), model.encode(expected["clip"]))


def test_weights_in_several_files(folder, model, expected):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for file in set(placed.values()):
        save_file({n: t for n, t in tensors.items() if placed[n] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load(folder)
    index.write_text(json.dumps({"weight_map": placed}))
    save_file({n: t * 0 for n, t in tensors.items()}, folder / "model_old.safetensors")
    assert torch.equal(load(folder).encode(expected["clip"]), model.encode(expected["clip"]))
    name = "vjepa2.encoder.layernorm.bias"
    for change, says in (
        ({name: "gone.safetensors"}, "gone.safetensors"),
        ({name: "../model-00001-of-00002.safetensors"}, "no file beside it"),
        ({"vjepa2.other": placed[name]}, "lacks the tensor vjepa2.other"),
    ):
        index.write_text(json.dumps({"weight_map": placed | change}))
        with pytest.raises(InputError, match=says):
            load(folder)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"vjepa2.encoder.layer.0.attention.key.bias": None}, "blocks.0.attn.qkv.bias"),
        ({"vjepa2.encoder.layer.0.norm1.bias": None}, "encoder.blocks.0.norm1.bias"),
        ({"vjepa2.encoder.layer.9.norm1.bias": torch.zeros(72)}, "encoder.blocks.9.norm1.bias"),
        ({"vjepa2.encoder.layernorm.bias": torch.zeros(7)}, r"encoder.norm.bias has shape \(7,\)"),
    ],
)
def test_the_wrong_tensor_is_named(folder, broken, sentence):
    tensors = load_file(folder / "model.safetensors") | broken
    save_file({n: t for n, t in tensors.items() if t is not None}, folder / "model.safetensors")
    with pytest.raises(InputError, match=sentence):
        load(folder)


def test_a_config_of_another_kind_is_refused(folder):
    config = json.loads((folder / "config.json").read_text()) | {"hidden_act": "silu"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="hidden_act 'silu'"):
        load(folder)
