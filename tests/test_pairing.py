"""Pairing: a decoder is found by the weights it was trained on, and another's is refused."""

import copy
import json
import shlex
from dataclasses import replace

import pytest
import torch
import tyro
from tiny import TINY

import decoder.__main__ as commands
from decoder.explorer import Explorer
from decoder.network import TokenDecoder
from decoder.pairing import default_folder, find_decoder, load_pipeline, train_command
from decoder.pipeline import make_pipeline
from vjepa import checkpoint, masks
from vjepa.checkpoint import Fingerprint, fingerprint
from vjepa.errors import InputError
from vjepa.model import VJEPA


def make_model(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VJEPA(TINY).eval().requires_grad_(False)
        for name, tensor in model.named_parameters():
            if name.endswith("bias"):  # as after training: fresh ones are all zero
                tensor.normal_()
        return model


@pytest.fixture(scope="module")
def model():
    return make_model(0)


@pytest.fixture(scope="module")
def other():
    return make_model(1)


def save_decoder(model, folder, name="mine", grid=TINY.grid):
    network = TokenDecoder(
        grid=grid,
        tubelet_dim=TINY.tubelet_dim,
        feature_dim=TINY.output_dim,
        width=32,
        depth=1,
        num_heads=2,
        model_fingerprint=Fingerprint(model).mark,
        model_name=name,
    )
    make_pipeline(network).save_pretrained(folder)
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The folder of models, as a place for runs."""
    monkeypatch.setenv("VJEPA_MODELS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_the_bundled_decoder_names_the_bundled_model():
    demo = checkpoint.load("demo", device="cpu")
    folder = checkpoint.BUNDLED["demo"].parent / "decoder"
    config = json.loads((folder / "network" / "config.json").read_text())
    assert Fingerprint(demo).matches(config["model_fingerprint"])
    assert find_decoder(demo, checkpoint.BUNDLED["demo"]) == folder


def test_the_right_one_of_several_is_found(model, other, tmp_path, runs):
    near = tmp_path / "mine" / "model.pth.tar"
    save_decoder(other, near.parent / "decoder")
    save_decoder(other, runs / "a" / "decoder")
    assert find_decoder(model, near) is None
    right = save_decoder(model, runs / "b" / "decoder")
    assert find_decoder(model, near) == right
    assert find_decoder(copy.deepcopy(model).bfloat16()) == right
    sibling = save_decoder(model, near.parent / "model-decoder" / "decoder")
    assert find_decoder(model, near) == sibling
    beside = save_decoder(model, near.parent / "decoder")
    assert find_decoder(model, near) == beside


def test_nothing_is_found_by_where_one_stands(model, tmp_path, runs, monkeypatch):
    save_decoder(model, tmp_path / "here" / "runs" / "a" / "decoder")
    monkeypatch.chdir(tmp_path / "here")
    assert find_decoder(model, tmp_path / "elsewhere" / "model.pth.tar") is None


def test_a_decoder_of_another_clip_size_is_not_taken(model, runs):
    t, h, w = TINY.grid
    save_decoder(model, runs / "long" / "decoder", grid=(2 * t, h, w))
    assert find_decoder(model) is None


def test_another_model_s_decoder_is_refused_by_both_names(model, other, tmp_path):
    folder = save_decoder(other, tmp_path / "decoder", name="vitl16.pth.tar")
    with pytest.raises(InputError, match="vitl16") as caught:
        load_pipeline(folder, model)
    assert fingerprint(model) in str(caught.value) and fingerprint(other) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def model_folder(model, tmp_path):
    checkpoint.save(model, tmp_path / "lone" / "model", torch.float32)
    return tmp_path / "lone" / "model"


def test_without_a_decoder_everything_but_decoding_works(model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explorer = Explorer.load(model_folder, device="cpu", dtype=torch.float32)
    assert explorer.pipeline is None
    size, frames = TINY.image_size, TINY.num_frames
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 256, (frames, size, size, 3), dtype=torch.uint8, generator=generator)
    explorer.set_clip(clip.numpy())
    mask = masks.box(TINY.grid, (0, 2), (1, 3), (0, 2))
    found, seen = explorer.inspect(mask), explorer.features(mask)
    expected = (seen.predictions - explorer.targets[seen.target_idx]).abs().mean(-1)
    torch.testing.assert_close(torch.from_numpy(found.error)[mask], expected)
    assert set(found.timings) == {"context", "predict"}
    with pytest.raises(InputError) as caught:
        explorer.predict(mask)
    assert explorer.train_command in str(caught.value)

    # what the command trains is found from then on, and predicts what inspect does
    save_decoder(explorer.model, default_folder(model_folder) / "decoder")
    paired = Explorer.load(model_folder, device="cpu", dtype=torch.float32)
    paired.set_clip(clip.numpy())
    assert torch.equal(paired.predict(mask, steps=1).predictions, found.predictions)


def test_the_command_is_one_that_the_command_line_takes(tmp_path, monkeypatch):
    source = tmp_path / "my models" / "vitl16.pth.tar"
    shape = replace(TINY, embed_dim=1024, num_heads=16)
    line = train_command(source, shape, data="my clips", num_frames=8, image_size=96)
    taken = []
    monkeypatch.setitem(commands.COMMANDS, "train", replace_train(taken))
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "decoder"]
    tyro.extras.subcommand_cli_from_dict(commands.COMMANDS, args=words[3:])
    (config,) = taken
    assert (config.model, config.num_frames, config.image_size) == (str(source), 8, 96)
    assert config.cache_clips > 0 and config.out.match("vitl16-decoder")
    assert (config.data, config.size) == ("my clips", "B")
    assert "--data YOUR_VIDEOS" in train_command(source, shape)


def replace_train(taken):
    """The command's own settings, and what it does with them left out."""
    from typing import Annotated

    from decoder.training.train import TrainConfig

    def train(config: Annotated[TrainConfig, tyro.conf.arg(name="")]) -> None:
        taken.append(config)

    return train


@pytest.mark.parametrize("name", ["encoder.blocks.0.mlp.fc1.weight", "predictor.norm.bias"])
def test_the_last_bit_of_any_weight_changes_the_fingerprint(model, name):
    known, changed = Fingerprint(model), copy.deepcopy(model)
    changed.get_parameter(name).data.view(torch.int32).flatten()[-1] ^= 1
    assert fingerprint(changed) != str(known) and not Fingerprint(changed).matches(known.mark)


def test_a_decoder_knows_its_model_in_another_precision(model, tmp_path):
    """Trained in bfloat16 on one machine, opened in float32 on another, and the other way."""
    folder = tmp_path / "model"
    checkpoint.save(model, folder, torch.float32)
    models = [checkpoint.load(folder, dtype=d) for d in (torch.float32, torch.bfloat16)]
    exact, low = map(Fingerprint, models)
    assert exact.matches(low.mark) and low.matches(exact.mark) and str(exact) != str(low)
    other = make_model(2)
    assert not Fingerprint(other).matches(low.mark)
    assert not Fingerprint(other.bfloat16()).matches(exact.mark)


def test_another_clip_size_keeps_the_fingerprint(model_folder):
    longer = checkpoint.load(model_folder, device="cpu", num_frames=2 * TINY.num_frames)
    assert replace(longer.config, num_frames=TINY.num_frames) == TINY
    assert fingerprint(longer) == fingerprint(checkpoint.load(model_folder, device="cpu"))
