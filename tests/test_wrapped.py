"""Checkpoints as people bring them: wrapped, and with other things beside the weights."""

import argparse
import pathlib
import random
import shutil
from collections import Counter, OrderedDict, defaultdict
from datetime import datetime

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from stored import load, refused, same
from tiny import TINY

import vjepa
from vjepa import checkpoint
from vjepa.errors import InputError
from vjepa.formats.files import unpickle, unwrapped
from vjepa.model import VJEPA

# -- wrappers

PREFIXES = [
    "",
    "module.",
    "backbone.",
    "model.",
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "module.backbone.",
    "_orig_mod.module.",
    "module._orig_mod.backbone.",
    "model.module.module._fsdp_wrapped_module.",
    "_fsdp_wrapped_module._fpw_module.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_wrappers_prefixes_are_taken_off(v1, write, expected, prefix):
    state = {part: {prefix + n: t for n, t in tensors.items()} for part, tensors in v1.items()}
    assert same(load(write(state)), expected)


@pytest.mark.parametrize(
    "inner", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]
)
def test_wrappers_of_blocks_are_taken_off(v1, write, expected, inner):
    """Around some blocks only, as torch.compile, FSDP and activation checkpointing put them."""

    def wrapped(name):
        return f"module.{name}".replace("blocks.1.", f"blocks.1.{inner}.").replace(
            "mlp.", f"mlp.{inner}."
        )

    state = {part: {wrapped(n): t for n, t in tensors.items()} for part, tensors in v1.items()}
    assert same(load(write(state)), expected)


def test_a_prefix_that_only_some_tensors_have_is_named(v1, write):
    encoder = {f"module.{n}": t for n, t in v1["encoder"].items()}
    encoder["norm.bias"] = encoder.pop("module.norm.bias")
    said = refused(write(v1 | {"encoder": encoder}))
    assert "'module.'" in said and "norm.bias" in said


def test_two_tensors_of_one_name_are_refused():
    tensors = {"norm.bias": torch.zeros(1), "norm._orig_mod.bias": torch.ones(1)}
    with pytest.raises(InputError, match="twice"):
        unwrapped(tensors, "here")


@pytest.mark.parametrize("holder", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod."])
def test_a_network_saved_as_a_whole(v1, write, expected, holder, prefix):
    """Encoder, predictor and target encoder in one dictionary, as Lightning saves them."""
    whole = {
        f"{prefix}{part}.module.{n}": t for part, tensors in v1.items() for n, t in tensors.items()
    }
    state = {holder: whole, "epoch": 3} if holder else whole
    assert same(load(write(state)), expected)


def test_a_wrapped_folder_and_probe(v1, golden, tmp_path):
    with torch.random.fork_rng():
        model = VJEPA(TINY)
    checkpoint.save(model, tmp_path / "model", torch.float32)
    path = tmp_path / "model" / "model.safetensors"
    save_file({f"_orig_mod.{n}": t for n, t in load_file(path).items()}, path)
    assert same(load(tmp_path / "model"), model)
    shutil.copy(golden / "vjepa1-a" / "config.json", tmp_path)
    state = torch.load(golden / "vjepa1-a" / "probe.pth.tar", weights_only=True)
    bare = {n.removeprefix("module."): t for n, t in state["classifier"].items()}
    for prefix in ("", "module._orig_mod."):
        torch.save({"classifier": {prefix + n: t for n, t in bare.items()}}, tmp_path / "p.pth.tar")
        assert same(
            vjepa.load_probe(tmp_path / "p.pth.tar"),
            vjepa.load_probe(golden / "vjepa1-a" / "probe.pth.tar"),
        )


# -- what lies beside the weights

BESIDE = {
    "namespace": argparse.Namespace(lr=0.1, out=argparse.Namespace(path=pathlib.Path("runs"))),
    "scalars": [np.float64(0.1), np.float32(2), np.int64(3), np.bool_(True), np.str_("x")],
    "arrays": {"a": np.arange(6.0).reshape(2, 3), "o": np.array(["a", None], object)},
    "dtypes": [np.dtype("float32"), np.dtype([("a", "i4")]), np.float16, np.dtype("<M8[s]")],
    "paths": [pathlib.PosixPath("/a/b"), pathlib.PurePosixPath("c"), pathlib.PureWindowsPath("d")],
    "containers": [OrderedDict(a=1), Counter("ab"), {1, 2}, frozenset([3]), (4,), bytearray(b"5")],
    "numbers": [1 + 2j, slice(1, 2), range(3), b"bytes", 2**70, None, True, 1e300],
    "time": datetime(2024, 5, 6),
    "states": [np.random.RandomState(0).get_state(), random.Random(0).getstate()],
    "torch": [torch.Size([1]), torch.device("cpu"), torch.float16, torch.zeros(2)],
}


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("legacy", [True, False])
def test_data_beside_the_weights_is_passed_over(v1, write, expected, kind, legacy):
    state = v1 | {"args": BESIDE[kind], "epoch": 3}
    path = write(state, _use_new_zipfile_serialization=not legacy)
    assert same(load(path), expected)


class WindowsPath(pathlib.PureWindowsPath):
    """Pickles as the real one, which only Windows can make."""


WindowsPath.__module__ = "pathlib"


def test_a_path_of_windows_is_data_too(v1, write, expected, monkeypatch):
    monkeypatch.setattr(pathlib, "WindowsPath", WindowsPath)
    path = write(v1 | {"args": {"out": WindowsPath("C:/runs")}})
    monkeypatch.undo()
    assert same(load(path), expected)


class Own:
    """An object of somebody's code."""


@pytest.mark.parametrize("legacy", [True, False])
def test_any_other_object_is_named(v1, write, legacy):
    for thing, name in (
        (Own(), "test_wrapped.Own"),
        (defaultdict(list), "collections.defaultdict"),
        (print, "print"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    ):
        said = refused(write(v1 | {"args": thing}, _use_new_zipfile_serialization=not legacy))
        assert name in said and "not run" in said and "damaged" not in said


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_another_pickle_protocol_is_told_from_damage(v1, write):
    said = refused(write(v1, pickle_protocol=4))
    assert "protocol 4" in said and "damaged" not in said


def test_what_is_passed_over_is_not_made(write):
    path = write({"encoder": {}, "args": argparse.Namespace(lr=np.float64(0.5))})
    args = unpickle(path)["args"]
    assert not isinstance(args, argparse.Namespace) and not hasattr(args, "lr")
