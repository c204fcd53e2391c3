"""The files that the official code writes, read strictly.

V-JEPA (`vitl16.pth.tar` and its siblings) with its probes; those of V-JEPA 2 and 2.1 are told apart
here and read in `official2`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vjepa.config import SHAPES, ModelConfig
from vjepa.errors import InputError
from vjepa.formats import official2
from vjepa.formats.files import StoredModel, read_json, tensors_of, unpickle, unwrapped

ENCODERS = ("encoder", "target_encoder", "ema_encoder")
PARTS = (*ENCODERS, "predictor")
HOLDERS = ("state_dict", "model_state_dict", "model", "module")
"""Entries in which others keep what the official code has on top."""
PATCHES = "patch_embed.proj.weight"
"""A tensor of every official encoder, and of nothing else."""
PROBE_PREFIX = re.compile(r"^(pooler\.)?(cross_attention_block\.)?(xattn\.)?")
PROBE_QUERY = "pooler.query_tokens"
KNOWN_SHAPES = {
    (config.embed_dim, config.num_tokens): config
    for name, config in SHAPES.items()
    if name != "demo"
}
"""The published models, told apart by width and number of tokens."""


def read(path: Path) -> StoredModel:
    """An official checkpoint of any V-JEPA; its optimizer's state is never touched.

    Of V-JEPA, `encoder`, `target_encoder` and `predictor` are used. Where one of the encoders is
    absent the other takes its place, as in the official code; where the predictor is, the model
    only encodes.

    Raises:
        InputError: no such checkpoint; the message names what is wrong.
    """
    return understand(unpickle(path), path)


def understand(state: Mapping, path: Path) -> StoredModel:
    """The model in what a file of the official layout holds; the path is for errors.

    Raises:
        InputError: no such checkpoint; the message names what is wrong.
    """
    parts = parts_of(state, path)
    if official2.recognises(parts, path):
        return official2.read(parts, path)
    online = parts.get("encoder") or _average(parts)
    config = find_config(path, online)
    tensors = {
        **_renamed(online, "encoder."),
        **_renamed(parts.get("predictor", {}), "predictor."),
        **_renamed(_average(parts) or online, "target_encoder."),
    }
    positions = {name: tensors.pop(name) for name in list(tensors) if name.endswith(".position")}
    _check_positions(positions, config, path)
    return StoredModel(config, tensors, str(path), positions)


def _average(parts: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return parts.get("target_encoder") or parts.get("ema_encoder") or {}


def parts_of(state: Mapping, path: Path) -> dict[str, dict[str, Tensor]]:
    """Encoders and predictor of a checkpoint, each by the names in the network itself.

    They are entries, or one dictionary holds all of them (`encoder.blocks...`), or an encoder
    alone.

    Raises:
        InputError: there is no encoder, or a part is no dictionary of tensors.
    """
    if not state.keys() & {*ENCODERS}:
        held = next((state[key] for key in HOLDERS if isinstance(state.get(key), dict)), state)
        state = held if held.keys() & {*ENCODERS} else _split(held, path)
    given = {part: state[part] for part in PARTS if state.get(part, None) is not None}
    found = {part: unwrapped(tensors_of(t, part, path), str(path)) for part, t in given.items()}
    return {part: tensors for part, tensors in found.items() if tensors}


def _split(state: Mapping, path: Path) -> dict[str, dict[str, Tensor]]:
    """The parts of a network that was saved as a whole, or the encoder that it is."""
    if not any(str(name).endswith(PATCHES) for name in state):
        raise InputError(
            f"{path} is not a V-JEPA checkpoint: it lacks the entries 'encoder' and 'predictor'."
        )
    bare = unwrapped(tensors_of(state, "state_dict", path), str(path))
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in bare.items():
        part, _, rest = name.partition(".")
        whole = part not in PARTS
        parts.setdefault("encoder" if whole else part, {})[name if whole else rest] = tensor
    return parts


def read_probe(path: Path) -> dict[str, Tensor]:
    """The tensors of a published attentive probe (`k400-probe.pth.tar`, say), by our names.

    `xattn.proj` is left out: the published file holds it and the published model applies none.

    Raises:
        InputError: the file is no PyTorch checkpoint, holds code, or lacks a probe.
    """
    found = tensors_of(unpickle(path).get("classifier", {}), "classifier", path)
    classifier = unwrapped(found, str(path))
    if PROBE_QUERY not in classifier:
        raise InputError(
            f"{path} is not a V-JEPA probe: it lacks a 'classifier' with the tensor {PROBE_QUERY}."
        )
    tensors = {PROBE_PREFIX.sub("", name): tensor for name, tensor in classifier.items()}
    query = tensors.pop("query_tokens").flatten()
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith("proj.")}
    return {"query": query, **used}


def find_config(path: Path, encoder: Mapping[str, Tensor]) -> ModelConfig:
    """The model's shape: the config.json beside the file, or the published model it looks like.

    Raises:
        InputError: there is no config.json and the widths are not the published ones.
    """
    beside = path.parent / "config.json"
    if beside.is_file():
        return ModelConfig.from_dict(read_json(beside))
    table = encoder.get("pos_embed")
    shape = tuple(table.shape[:0:-1]) if table is not None else None
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
        name = re.sub(r"^predictor_", "", name)
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
