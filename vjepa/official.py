"""The official V-JEPA checkpoints (`vitl16.pth.tar` and its siblings), read strictly."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from vjepa import official21
from vjepa.config import PRESETS, ModelConfig
from vjepa.errors import InputError
from vjepa.weights import StoredModel, read_json, tensors_of, unpickle

PREFIX = "module.backbone."
PARTS = {"encoder", "predictor", "target_encoder", "ema_encoder"}
PROBE_PREFIX = re.compile(r"^module\.(pooler\.)?(cross_attention_block\.)?(xattn\.)?")
PROBE_QUERY = "module.pooler.query_tokens"
KNOWN_SHAPES = {
    (config.embed_dim, config.num_tokens): config
    for name, config in PRESETS.items()
    if name != "demo"
}
"""The published models, told apart by width and number of tokens."""


def read(path: Path) -> StoredModel:
    """An official checkpoint of V-JEPA or V-JEPA 2.1; its optimizer's state is never touched.

    Of V-JEPA, `encoder`, `target_encoder` (the encoder when absent, as the official code does)
    and `predictor` are used.

    Raises:
        InputError: no such checkpoint; the message names what is wrong.
    """
    state = unpickle(path)
    if not {"encoder", "predictor"} <= state.keys():
        raise InputError(
            f"{path} is not a V-JEPA checkpoint: it lacks the entries 'encoder' and 'predictor'."
        )
    for part in PARTS & state.keys():
        tensors_of(state[part], part, path)
    if official21.recognises(state):
        return StoredModel(official21.find_config(path, state), official21.rename(state), str(path))
    config = find_config(path, state)
    target = state.get("target_encoder") or {n: t.clone() for n, t in state["encoder"].items()}
    tensors = {
        **_renamed(state["encoder"], "encoder."),
        **_renamed(state["predictor"], "predictor."),
        **_renamed(target, "target_encoder."),
    }
    positions = {name: tensors.pop(name) for name in list(tensors) if name.endswith(".position")}
    _check_positions(positions, config, path)
    return StoredModel(config, tensors, str(path), positions)


def read_probe(path: Path) -> dict[str, Tensor]:
    """The tensors of a published attentive probe (`k400-probe.pth.tar`, say), by our names.

    `xattn.proj` is left out: the published file holds it and the published model applies none.

    Raises:
        InputError: the file is no PyTorch checkpoint, holds code, or lacks a probe.
    """
    classifier = tensors_of(unpickle(path).get("classifier", {}), "classifier", path)
    if PROBE_QUERY not in classifier:
        raise InputError(
            f"{path} is not a V-JEPA probe: it lacks a 'classifier' with the tensor {PROBE_QUERY}."
        )
    tensors = {PROBE_PREFIX.sub("", name): tensor for name, tensor in classifier.items()}
    query = tensors.pop("query_tokens").flatten()
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith("proj.")}
    return {"query": query, **used}


def find_config(path: Path, state: dict) -> ModelConfig:
    """The model's shape: the config.json beside the file, or the published model it looks like.

    Raises:
        InputError: there is no config.json and the widths are not the published ones.
    """
    beside = path.parent / "config.json"
    if beside.is_file():
        return ModelConfig.from_dict(read_json(beside))
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
        name = re.sub(r"^predictor_", "", name.removeprefix(PREFIX))
        name = re.sub(r"^patch_embed\.proj\.", "patch_embed.", name)
        renamed[part + re.sub(r"^pos_embed$", "position", name)] = tensor
    return renamed


def _check_positions(positions: dict[str, Tensor], config: ModelConfig, path: Path) -> None:
    for name, table in positions.items():
        width = config.predictor_embed_dim if name == "predictor.position" else config.embed_dim
        expected = (1, config.num_tokens, width)
        if tuple(table.shape) != expected:
            raise InputError(
                f"{path}: the position table of {name} has shape {tuple(table.shape)}, "
                f"expected {expected}: the config.json beside it is another model's."
            )
