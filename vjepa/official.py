"""The official V-JEPA checkpoints (`vitl16.pth.tar` and its siblings), read strictly."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from vjepa.config import PRESETS, ModelConfig
from vjepa.errors import InputError
from vjepa.model import VJEPA

PREFIX = "module.backbone."
PROBE_PREFIX = re.compile(r"^module\.(pooler\.)?(cross_attention_block\.)?(xattn\.)?")
PROBE_QUERY = "module.pooler.query_tokens"
KNOWN_SHAPES = {
    (config.embed_dim, config.num_tokens): config
    for name, config in PRESETS.items()
    if name != "demo"
}
"""The published models, told apart by width and number of tokens."""


def load(path: Path) -> VJEPA:
    """An official checkpoint as our model, in float32 on the CPU.

    Reads `encoder`, `target_encoder` (the encoder when absent, as the official code does) and
    `predictor`; the optimizer's state is never touched.

    Raises:
        InputError: no such checkpoint; the message names what is wrong.
    """
    from vjepa.checkpoint import fill  # checkpoint imports this module

    state = read(path)
    target = state.get("target_encoder", state["encoder"])
    config = find_config(path, state)
    tensors = {
        **_renamed(state["encoder"], "encoder."),
        **_renamed(state["predictor"], "predictor."),
        **_renamed(target, "target_encoder."),
    }
    positions = {name: tensors.pop(name) for name in list(tensors) if name.endswith("position")}
    model = VJEPA(config)
    fill(model, tensors, str(path))
    for name, table in positions.items():
        _fill_position(model, name, table, path)
    return model


def read(path: Path) -> dict:
    """The checkpoint's dictionary, memory-mapped; code inside a pickle is never run.

    Raises:
        InputError: the file is no PyTorch checkpoint, holds code, or lacks a model.
    """
    state = _unpickled(path)
    if not {"encoder", "predictor"} <= state.keys():
        raise InputError(
            f"{path} is not a V-JEPA checkpoint: it lacks the entries 'encoder' and 'predictor'."
        )
    return state


def read_probe(path: Path) -> dict[str, Tensor]:
    """The tensors of a published attentive probe (`k400-probe.pth.tar`, say), by our names.

    `xattn.proj` is left out: the published file holds it and the published model applies none.

    Raises:
        InputError: the file is no PyTorch checkpoint, holds code, or lacks a probe.
    """
    classifier = _unpickled(path).get("classifier")
    if not isinstance(classifier, dict) or PROBE_QUERY not in classifier:
        raise InputError(
            f"{path} is not a V-JEPA probe: it lacks a 'classifier' with the tensor {PROBE_QUERY}."
        )
    tensors = {PROBE_PREFIX.sub("", name): tensor for name, tensor in classifier.items()}
    query = tensors.pop("query_tokens").flatten()
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith("proj.")}
    return {"query": query, **used}


def _unpickled(path: Path) -> dict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is no readable PyTorch checkpoint: it is damaged, or not one at all."
        ) from error
    return state if isinstance(state, dict) else {}


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def find_config(path: Path, state: dict) -> ModelConfig:
    """The model's shape: the config.json beside the file, or the published model it looks like.

    Raises:
        InputError: there is no config.json and the widths are not the published ones.
    """
    from vjepa.checkpoint import read_config

    beside = path.parent / "config.json"
    if beside.is_file():
        return read_config(beside)
    table = state["encoder"].get(PREFIX + "pos_embed")
    shape = (table.shape[-1], table.shape[-2]) if isinstance(table, Tensor) else None
    if shape not in KNOWN_SHAPES:
        raise InputError(
            f"{path} has a shape that is not published (width and tokens {shape}): "
            "put a config.json beside it that names its sizes and heads."
        )
    return KNOWN_SHAPES[shape]


def _renamed(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Official tensor names as ours: no prefix, and `predictor_blocks` within the predictor."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(PREFIX)
        name = re.sub(r"^predictor_", "", name)
        name = re.sub(r"^patch_embed\.proj\.", "patch_embed.", name)
        renamed[part + re.sub(r"^pos_embed$", "position", name)] = tensor
    return renamed


def _fill_position(model: VJEPA, name: str, table: Tensor, path: Path) -> None:
    position = model.get_buffer(name)
    if table.shape[1:] != position.shape:
        raise InputError(
            f"{path}: the position table of {name} has shape {tuple(table.shape)}, "
            f"expected {(1, *position.shape)}: the config.json beside it is another model's."
        )
    position.copy_(table[0])
