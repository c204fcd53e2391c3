"""Wrong, damaged and hostile files: one sentence each, and no code of theirs ever runs."""

import json
import os
import pickle
import shutil
import struct
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import TINY

import decoder
import vjepa
from vjepa import checkpoint
from vjepa.analysis.attentive import AttentiveProbe, save_probe
from vjepa.errors import InputError
from vjepa.model import VJEPA

LOADERS = {"model": vjepa.load, "probe": vjepa.load_probe}
either = pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)


def refused(load, path):
    """The one sentence with which a file is refused."""
    with pytest.raises(InputError) as caught:
        load(path)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 600
    return said


@pytest.fixture
def folder(tmp_path):
    """A model folder of ours."""
    with torch.random.fork_rng():
        checkpoint.save(VJEPA(TINY), tmp_path / "model", torch.float32)
    return tmp_path / "model"


@pytest.fixture
def official(golden, tmp_path):
    """An official checkpoint with its config.json; the checkpoint's path."""
    for name in ("checkpoint.pth.tar", "config.json"):
        shutil.copy(golden / "vjepa1-a" / name, tmp_path)
    return tmp_path / "checkpoint.pth.tar"


# -- files that are something else


def text(path):
    path.write_text("https://example.com/vitl16.pth.tar\n" * 100)


def web_page(path):
    path.write_text("<!DOCTYPE html><html><body>404</body></html>")


def image(path):
    Image.new("RGB", (64, 64)).save(path, "png")


def empty(path):
    path.touch()


def zeros(path):
    path.write_bytes(bytes(10_000))


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing to load")


def zip_signature_alone(path):
    path.write_bytes(b"PK\x03\x04")


def truncated_zip(path):
    torch.save({"encoder": {"w": torch.zeros(10_000)}, "predictor": {}}, path)
    path.write_bytes(path.read_bytes()[:20_000])


def truncated_pickle(path):
    weights = {"encoder": {"w": torch.zeros(10_000)}, "predictor": {}}
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:20_000])


def truncated_early(path):
    path.write_bytes(pickle.dumps({"encoder": {}}, protocol=2)[:-4])


def deep_pickle(path):
    path.write_bytes(b"\x80\x02" + b"(" * 100_000)


def other_objects(path):
    torch.save([1, 2, 3], path)


def wrong_entries(path):
    torch.save({"encoder": 1, "predictor": "two", "classifier": [3]}, path)


def not_tensors(path):
    names = ["module.backbone.pos_embed", "module.backbone.norm.weight"]
    torch.save({"encoder": dict.fromkeys(names, 3), "predictor": {1: 2}}, path)


def probe_of_numbers(path):
    torch.save({"classifier": {"module.pooler.query_tokens": 1, 2: 3}}, path)


@either
@pytest.mark.parametrize(
    "write",
    [
        text,
        web_page,
        image,
        empty,
        zeros,
        other_zip,
        zip_signature_alone,
        truncated_zip,
        truncated_pickle,
        truncated_early,
        deep_pickle,
        other_objects,
        wrong_entries,
        not_tensors,
        probe_of_numbers,
    ],
    ids=lambda write: write.__name__,
)
def test_files_that_are_something_else(load, write, tmp_path):
    path = tmp_path / "vitl16.pth.tar"
    write(path)
    assert "vitl16.pth.tar" in refused(load, path)


@either
def test_places_where_no_model_is(load, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "loop", tmp_path / ("x" * 300), "\0"):
        refused(load, path)


@either
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(load, official):
    official.chmod(0)
    refused(load, official)


# -- code


class Code:
    """Makes a file when it is unpickled carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@either
@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_pickle_does_not_run(load, legacy, tmp_path):
    owned = tmp_path / "owned"
    state = {"encoder": Code(owned), "predictor": {}, "classifier": Code(owned)}
    for at in ("plain.pth.tar", "saved.pth.tar"):
        path = tmp_path / at
        if at == "plain.pth.tar":
            path.write_bytes(pickle.dumps(state, protocol=2))
        else:
            torch.save(state, path, _use_new_zipfile_serialization=not legacy)
        refused(load, path)
        assert not owned.exists()


# -- checkpoints that are almost right


def changed(path, change):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


def rename(name, to):
    return lambda part: part.update({to: part.pop(name)})


NAME = "module.backbone.blocks.1.mlp.fc1.weight"


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("part", ["encoder", "target_encoder"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda part: part.pop(NAME), "blocks.1.mlp.fc1.weight"),
        (rename(NAME, "module.backbone.extra"), "blocks.1.mlp.fc1.weight"),
        (lambda part: part.update({"module.backbone.extra": torch.zeros(1)}), "extra"),
        (lambda part: part.update({NAME: part[NAME][:-1]}), "blocks.1.mlp.fc1.weight"),
        (lambda part: part.update({NAME: torch.zeros(0)}), "blocks.1.mlp.fc1.weight"),
        (lambda part: part.update({NAME: "zeros"}), "blocks.1.mlp.fc1.weight"),
        (lambda part: part.update({NAME: part[NAME].to_sparse()}), "blocks.1.mlp.fc1.weight"),
        (lambda part: part.update({NAME: part[NAME].to(torch.int64)}), "blocks.1.mlp.fc1.weight"),
    ],
    ids=["missing", "renamed", "unexpected", "shape", "empty", "text", "sparse", "integers"],
)
def test_the_tensor_at_fault_is_named(official, part, change, says):
    changed(official, lambda state: change(state[part]))
    assert says in refused(vjepa.load, official)


def test_tensors_that_share_memory_load_right(official):
    """One encoder saved under both names, in the old format too."""
    state = torch.load(official, weights_only=True)
    state["target_encoder"] = state["encoder"]
    for legacy in (False, True):
        path = official.with_name(f"shared-{legacy}.pth.tar")
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
        model = vjepa.load(path, device="cpu", dtype=torch.float32)
        for ours, theirs in zip(
            model.encoder.parameters(), model.target_encoder.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "values",
    [
        {"embed_dim": 10**9, "num_heads": 1},
        {"depth": 10**9},
        {"image_size": 16 * 10**6},
        {"num_frames": 2 * 10**9},
        {"predictor_depth": 10**12},
        {"num_mask_tokens": 10**9},
        {"embed_dim": -64},
        {"embed_dim": "64"},
        {"embed_dim": 1e400},
        {"num_heads": 0},
        {"patch_size": 0},
        {"depth": None},
        {"embed_dim": 10**30},
    ],
    ids=str,
)
def test_absurd_configs_allocate_nothing(official, folder, values):
    for config, source in ((official.parent, official), (folder, folder)):
        path = config / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        refused(vjepa.load, source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_a_device_and_an_endless_name_are_refused_at_once(tmp_path):
    """A pipe that nobody writes to is read without an end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "a" * 5_000, "/" + "a/" * 3_000):
        for load in (vjepa.load, vjepa.load_probe, decoder.Explorer.load):
            assert len(refused(load, path)) < 400


@either
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_config_that_is_none(load, folder, content):
    save_probe(AttentiveProbe(8, 2, 3), folder)
    (folder / "config.json").write_bytes(content)
    refused(load, folder)


# -- safetensors


def lying(header, body=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


@either
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**62) + b"{}",
        lying(b"not json"),
        lying({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        lying({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}, bytes(16)),
        lying({"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        lying({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        lying({}),
    ],
    ids=["empty", "ff", "long", "text", "huge", "short", "dtype", "negative", "nothing"],
)
def test_safetensors_that_lie(load, folder, content):
    save_probe(AttentiveProbe(8, 2, 3), folder / "probe")
    path = folder if load is vjepa.load else folder / "probe"
    (next(path.glob("*.safetensors"))).write_bytes(content)
    refused(load, path)


def test_a_tensor_that_a_folder_lacks_is_named(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("predictor.norm.bias")
    save_file(tensors, path)
    assert "predictor.norm.bias" in refused(vjepa.load, folder)


def test_a_transformers_folder_that_lies(golden, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(golden / "vjepa2-a" / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for values in ({"hidden_size": 10**9}, {"num_hidden_layers": 10**9}, {"patch_size": []}):
        (tmp_path / "config.json").write_text(json.dumps(config | values))
        refused(vjepa.load, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if "layer.0.attention.query.weight" in name)
    save_file(tensors | {name: tensors[name][:-1].clone()}, tmp_path / "model.safetensors")
    refused(vjepa.load, tmp_path)
