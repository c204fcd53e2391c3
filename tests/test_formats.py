"""Files of V-JEPA 2, encoders alone, folders and caches that hold a checkpoint somewhere."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from stored import TOLERANCE, load, refused, same

import vjepa
from vjepa import checkpoint
from vjepa.errors import InputError

# -- V-JEPA 2's own files


def own_name(name):
    """A tensor's name in transformers' V-JEPA 2 as the official code has it."""
    part, rest = name.removeprefix("vjepa2.").split(".", 1)
    rest = rest.replace("attention.", "attn.").replace("embeddings.patch_embeddings", "patch_embed")
    if part == "encoder":
        return part, rest.replace("layer.", "blocks.", 1).replace("layernorm", "norm")
    rest = rest.replace("embeddings.predictor_embeddings", "predictor_embed")
    rest = rest.replace("layernorm", "predictor_norm").replace("layer.", "predictor_blocks.", 1)
    return part, rest if rest.startswith("predictor_") else f"predictor_{rest}"


@pytest.fixture(scope="session")
def v2(golden):
    """The golden transformers model as an official V-JEPA 2 file holds it."""
    found = load_file(golden / "vjepa2-a" / "model.safetensors")
    parts = {"encoder": {}, "predictor": {}}
    for name, tensor in found.items():
        if not name.startswith("vjepa2."):
            continue
        part, own = own_name(name)
        if own.endswith("mask_tokens"):
            parts[part] |= {f"mask_tokens.{i}": token for i, token in enumerate(tensor.clone())}
        elif ".attn.query." in own:
            three = [found[name.replace("query", kind)] for kind in ("query", "key", "value")]
            parts[part][own.replace("query", "qkv")] = torch.cat(three)
        elif ".attn.key." not in own and ".attn.value." not in own:
            parts[part][own] = tensor
    return {
        part: {f"module.backbone.{n}": t for n, t in tensors.items()}
        for part, tensors in parts.items()
    }


HEADS = {"image_size": 64, "num_frames": 8, "num_heads": 3, "predictor_num_heads": 2}


@pytest.fixture
def numbers(golden):
    found = load_file(golden / "vjepa2-a" / "expected.safetensors")
    return {**found, "clip": found["clip_btchw"].transpose(1, 2)}


@pytest.mark.parametrize("config", ["ours", "transformers"])
@pytest.mark.parametrize("key", ["encoder", "target_encoder"])
def test_a_v_jepa_2_file_of_its_own_gives_the_golden_numbers(
    v2, write, golden, numbers, config, key
):
    encoder = {n: t * 0 for n, t in v2["encoder"].items()} | {}
    state = {"encoder": encoder, key: v2["encoder"], "predictor": v2["predictor"], "epoch": 1}
    beside = HEADS if config == "ours" else golden / "vjepa2-a" / "config.json"
    model = load(write(state, beside, "vitl.pt"))
    assert model.config.family == "vjepa2" and model.config.num_mask_tokens == 10
    torch.testing.assert_close(model.encode(numbers["clip"]), numbers["encoder_full"], **TOLERANCE)
    context_idx, target_idx = numbers["context_idx"], numbers["target_idx"]
    context = vjepa.model.take(numbers["encoder_full"], context_idx)
    predictions = model.predict(context, context_idx, target_idx)
    torch.testing.assert_close(predictions, numbers["predictor_output"], **TOLERANCE)


def test_a_v_jepa_2_file_is_read_strictly(v2, write):
    for part in v2:
        for name in v2[part]:
            if "blocks.1" in name or name.endswith("mask_tokens.9"):
                continue  # one block is like another; without the config.json tokens are counted
            without = {n: t for n, t in v2[part].items() if n != name}
            said = refused(write(v2 | {part: without}, HEADS))
            assert "lacks the tensor" in said or "has shape" in said
    surplus = v2["encoder"] | {"module.backbone.extra": torch.zeros(1)}
    assert "encoder.extra" in refused(write(v2 | {"encoder": surplus}, HEADS))
    misshapen = v2["encoder"] | {"module.backbone.norm.bias": torch.zeros(2)}
    assert "encoder.norm.bias has shape (2,)" in refused(write(v2 | {"encoder": misshapen}, HEADS))
    flat = v2["encoder"] | {"module.backbone.patch_embed.proj.weight": torch.zeros(0)}
    assert "patch_embed.proj.weight" in refused(write(v2 | {"encoder": flat}, HEADS))


def test_a_width_that_is_not_published_needs_its_heads(v2, write):
    said = refused(write(v2, None, "vitl.pt"))
    assert "V-JEPA 2" in said and "download" in said and "num_heads" in said
    assert "predictor_num_heads" in refused(write(v2, {"num_heads": 3}))
    for config in ({"encoder": {}}, {"encoder": 3}, {"encoder": {"img_size": 7}}):
        assert "img_size" in refused(write(v2, config))


@pytest.mark.parametrize("name", ["vitl.pt", "vitg-384.pt"])
def test_the_published_shapes_need_no_config(name, write):
    """The blocks of the width are asked for, however many the file holds."""
    width, depth = (1024, 24) if name == "vitl.pt" else (1408, 40)
    encoder = {
        "patch_embed.proj.weight": torch.zeros(1).expand(width, 3, 2, 16, 16),
        "blocks.0.mlp.fc1.weight": torch.zeros(1).expand(width * 48 // 11, width),
    }
    config = checkpoint.peek_config(write({"target_encoder": encoder}, None, name))
    assert (config.embed_dim, config.depth, config.num_heads) == (width, depth, width // 64)
    assert config.image_size == (384 if "384" in name else 256) and config.num_frames == 64


# -- encoders alone


def test_an_action_conditioned_file_is_an_encoder(v2, write, numbers):
    actions = {"action_encoder.weight": torch.zeros(4, 7), "predictor_blocks.0.x": torch.ones(1)}
    predictor = {f"module.{n}": t for n, t in actions.items()}
    model = load(write({"encoder": v2["encoder"], "predictor": predictor}, HEADS))
    torch.testing.assert_close(model.encode(numbers["clip"]), numbers["encoder_full"], **TOLERANCE)
    with pytest.raises(InputError, match="no predictor"):
        model.predict(
            numbers["encoder_full"][:, :3], *torch.arange(6).view(2, 1, 3).expand(-1, 2, -1)
        )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: {"encoder": e},
        lambda e: {"target_encoder": e, "predictor": None},
        lambda e: {"ema_encoder": e, "predictor": {}},
        lambda e: {"state_dict": {f"encoder.{n}": t for n, t in e.items()}},
        lambda e: e,
    ],
)
@pytest.mark.parametrize("family", ["vjepa", "vjepa2"])
def test_a_file_with_an_encoder_alone_encodes(v1, v2, write, golden, expected, wrap, family):
    one = family == "vjepa"
    encoder = v1["target_encoder"] if one else v2["encoder"]
    model = load(write(wrap(encoder), *(() if one else (HEADS,))))
    clip = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    twin = expected if one else load(golden / "vjepa2-a")
    assert torch.equal(model.encode(clip), twin.encode(clip))
    idx = torch.arange(4)[None]
    with pytest.raises(InputError, match="no predictor") as caught:
        model.predict(model.encode_context(clip, idx), idx, idx + 4)
    assert str(caught.value).count(".") == 1
    assert model.config.predictor_depth == 0


def test_an_encoder_of_v_jepa_2_1_alone_has_its_own_targets(golden, write):
    state = torch.load(golden / "vjepa21-a" / "checkpoint.pt", weights_only=True)
    config = golden / "vjepa21-a" / "config.json"
    model = load(write({"ema_encoder": state["ema_encoder"]}, config, "m.pt"))
    clip = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        model.encode(clip), load(golden / "vjepa21-a" / "checkpoint.pt").encode(clip)
    )
    targets = model.target_features(clip)
    assert targets.shape[-1] == 4 * 48 == model.config.output_dim
    own = torch.nn.functional.layer_norm(model.encode(clip), (48,))
    torch.testing.assert_close(targets[..., model.config.last_layer], own)


def test_an_encoder_alone_is_saved_and_comes_back(v2, write, tmp_path):
    model = load(write({"encoder": v2["encoder"]}, HEADS))
    checkpoint.save(model, tmp_path / "saved", torch.float32)
    again = load(tmp_path / "saved")
    assert same(again, model) and again.config == model.config
    assert checkpoint.peek_config(tmp_path / "saved").predictor_depth == 0


def test_a_predictor_that_lacks_one_tensor_is_no_encoder_alone(v1, write):
    predictor = dict(list(v1["predictor"].items())[:-1])
    assert "predictor." in refused(write(v1 | {"predictor": predictor}))
    with pytest.raises(InputError, match="lacks the entries 'encoder'"):
        load(write({"predictor": v1["predictor"]}))


# -- places


@pytest.fixture
def transformers(golden, tmp_path):
    """Lays the golden V-JEPA 2 into a folder."""

    def lay(folder):
        folder.mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(golden / "vjepa2-a" / name, folder)
        return folder

    return lay


def test_other_weights_in_a_folder_change_nothing(transformers, tmp_path, golden):
    folder = transformers(tmp_path / "m")
    zeros = {n: t * 0 for n, t in load_file(folder / "model.safetensors").items()}
    for name in ("model_old", "model-00001-of-00002", "zz", "a"):
        save_file(zeros, folder / f"{name}.safetensors")
    torch.save({"encoder": {}}, folder / "last.pt")
    assert same(load(folder), load(golden / "vjepa2-a"))
    (folder / "model.safetensors").unlink()
    (folder / "last.pt").unlink()
    assert "no model.safetensors" in refused(folder)


def test_a_file_of_tensors_with_its_config_beside_it(transformers, tmp_path, golden):
    folder = transformers(tmp_path / "m")
    expected = load(golden / "vjepa2-a")
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    assert same(load(folder / "best.safetensors"), expected)
    assert "best.safetensors" in refused(folder)
    (folder / "best.safetensors").rename(folder / "0a1b2c")  # as a cache calls it
    assert same(load(folder / "0a1b2c"), expected)
    (folder / "config.json").unlink()
    assert "config.json" in refused(folder / "0a1b2c")


def test_a_file_of_tensors_in_the_official_layout(v2, tmp_path, golden):
    flat = {f"{part}.{n}": t for part, tensors in v2.items() for n, t in tensors.items()}
    save_file(flat, tmp_path / "vitl.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(HEADS))
    assert same(load(tmp_path / "vitl.safetensors"), load(golden / "vjepa2-a"))


def cache_of(transformers, root, *snapshots, main=None):
    """The hub's cache of a repository: files in blobs, links to them in snapshots."""
    cache = root / "models--facebook--vjepa2-tiny"
    blobs = transformers(cache / "blobs")
    for name in snapshots:
        (cache / "snapshots" / name).mkdir(parents=True)
        for file in blobs.iterdir():
            (cache / "snapshots" / name / file.name).symlink_to(f"../../blobs/{file.name}")
    (cache / "refs").mkdir()
    if main:
        (cache / "refs" / "main").write_text(main)
    return cache


def test_a_cache_of_the_hub_is_what_main_is(transformers, tmp_path, golden):
    cache = cache_of(transformers, tmp_path, "aa", "bb", main="bb\n")
    for file in (cache / "snapshots" / "aa").iterdir():
        file.unlink()
    for path in (cache, tmp_path, cache / "snapshots", cache / "snapshots" / "bb"):
        assert same(load(path), load(golden / "vjepa2-a"))
        assert checkpoint.peek_config(path).family == "vjepa2"
    (tmp_path / "linked").symlink_to(cache)
    assert same(load(tmp_path / "linked"), load(golden / "vjepa2-a"))


def test_a_cache_that_does_not_say_names_its_snapshots(transformers, tmp_path, golden):
    cache = cache_of(transformers, tmp_path, "aa", "bb")
    assert "snapshots" in refused(cache)
    for main in ("cc", "../blobs"):
        (cache / "refs" / "main").write_text(main)
        assert "snapshots" in refused(cache)
    shutil.rmtree(cache / "snapshots" / "bb")
    (cache / "refs" / "main").unlink()
    assert same(load(cache), load(golden / "vjepa2-a"))


def test_a_folder_with_one_checkpoint_is_that_one(write, v1, expected):
    path = write(v1)
    shutil.copy(path, path.with_name("k400-probe.pth.tar"))
    assert same(load(path.parent), expected)
    shutil.copy(path, path.with_name("latest.pth.tar"))
    said = refused(path.parent)
    assert "latest.pth.tar" in said and "m.pth.tar" in said
    path.unlink()
    path.symlink_to("latest.pth.tar")
    assert same(load(path), expected)
