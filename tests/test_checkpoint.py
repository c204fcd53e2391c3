"""Checkpoints: what is saved comes back; what is none is refused, and runs nothing."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TINY

import vjepa
from vjepa import checkpoint
from vjepa.errors import InputError
from vjepa.formats.files import default_device, default_dtype
from vjepa.model import VJEPA


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VJEPA(TINY)


@pytest.fixture
def folder(model, tmp_path):
    checkpoint.save(model, tmp_path / "model", torch.float32)
    return tmp_path / "model"


def load(path):
    return vjepa.load(path, device="cpu", dtype=torch.float32)


def refused(path):
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_saved_comes_back(model, folder):
    clips = torch.randn(1, 3, 4, 48, 48)
    assert torch.equal(load(folder).encode(clips), model.encode(clips))
    assert load(folder).config == TINY


def test_half_precision_on_disk_stays_close(model, tmp_path):
    checkpoint.save(model, tmp_path / "half")
    clips = torch.randn(1, 3, 4, 48, 48)
    ours, theirs = load(tmp_path / "half").encode(clips), model.encode(clips)
    assert torch.cosine_similarity(ours, theirs, dim=-1).min() > 0.999


def test_the_bundled_model_loads():
    assert vjepa.load("demo").grid == (8, 7, 7)


def test_the_first_bad_tensor_is_named(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "encoder.blocks.0.attn.qkv.weight"
    for change, says in (
        (lambda t: t.pop(name), "lacks the tensor"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected tensor extra"),
        (lambda t: t.update({name: torch.zeros(2, 2)}), "shape (2, 2)"),
    ):
        changed = dict(tensors)
        change(changed)
        save_file(changed, path)
        said = refused(folder)
        assert says in said
        assert name in said or "extra" in said


def test_damaged_and_missing_files(folder, tmp_path):
    assert "no model" in refused(tmp_path / "nothing")
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    assert "no readable safetensors" in refused(folder)
    (folder / "model.safetensors").unlink()
    assert "no model.safetensors" in refused(folder)
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refused(folder)
    (folder / "config.json").unlink()
    assert "config.json" in refused(folder)


def test_official_files_that_are_none(golden, tmp_path):
    path = tmp_path / "model.pth.tar"
    path.write_bytes(b"not a checkpoint at all")
    assert "no readable PyTorch checkpoint" in refused(path)
    whole = (golden / "vjepa1-a" / "checkpoint.pth.tar").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "no readable PyTorch checkpoint" in refused(path)
    torch.save({"weights": torch.zeros(1)}, path)
    assert "lacks the entries" in refused(path)


def test_an_official_file_without_its_config(golden, tmp_path):
    shutil.copy(golden / "vjepa1-a" / "checkpoint.pth.tar", tmp_path)
    path = tmp_path / "checkpoint.pth.tar"
    assert "config.json" in refused(path)
    config = json.loads((golden / "vjepa1-a" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"depth": 3}))
    assert "blocks.2" in refused(path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_frames": 16}))
    assert "position table" in refused(path)


class Hostile:
    """A pickle that writes a file when it is opened carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_runs_nothing(tmp_path):
    path = tmp_path / "hostile.pth.tar"
    path.write_bytes(pickle.dumps({"encoder": Hostile(tmp_path / "owned")}, protocol=2))
    refused(path)
    torch.save({"encoder": Hostile(tmp_path / "owned"), "predictor": {}}, path)
    refused(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("there", "chosen"), [({"cuda", "mps"}, "cuda"), ({"mps"}, "mps"), (set(), "cpu")]
)
def test_a_gpu_is_chosen_where_there_is_one(monkeypatch, there, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    assert default_device().type == chosen
    assert default_dtype(torch.device("mps")) == torch.float32
