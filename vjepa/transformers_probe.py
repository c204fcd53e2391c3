"""The attentive probe in a transformers V-JEPA 2 classifier's folder, by our names."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vjepa.errors import InputError
from vjepa.transformers_folder import PROBE
from vjepa.weights import read_json

NORM_EPS = 1e-6
"""Of every LayerNorm, unlike V-JEPA's probes."""
NAMES = (
    (r"^classifier\.", "linear."),
    (r"^pooler\.query_tokens$", "query"),
    (r"^pooler\.self_attention_layers\.", "blocks."),
    (r"^pooler\.cross_attention_layer\.(cross_attn\.)?", ""),
    (r"(^|\.)layer_norm([12])\.", r"\1norm\2."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.", ".attn."),
    (r"^q_proj\.", "q."),
)
FUSED = (
    (r"^(blocks\.\d+\.attn\.)[qkv]_proj\.(\w+)$", "qkv", ("q_proj", "k_proj", "v_proj")),
    (r"^()[kv]_proj\.(\w+)$", "kv", ("k_proj", "v_proj")),
)
"""Projections that are one matrix here: which names, what it is called, what it is made of."""


def read_probe(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """A V-JEPA 2 probe's tensors, and what a config.json of ours would say.

    The encoder's tensors, which lie in the same file, are not read.

    Raises:
        InputError: there is no safetensors file, an unreadable one, or none with a probe; the
            names of the classes are no table from numbers to names.
    """
    theirs = _tensors_in(folder)
    if "pooler.query_tokens" not in theirs:
        raise InputError(
            f"{folder} holds no probe, only a model: give the folder of a V-JEPA 2 classifier."
        )
    tensors = _fuse({_rename(name): tensor for name, tensor in theirs.items()})
    config = read_json(folder / "config.json")
    return {**tensors, "query": tensors["query"].flatten()}, {
        "probe_num_heads": config.get("num_attention_heads", 16),
        "norm_eps": NORM_EPS,
        "classes": _names(config.get("id2label", {}), folder),
    }


def _tensors_in(folder: Path) -> dict[str, Tensor]:
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                names = filter(lambda name: name.startswith(PROBE), file.keys())
                tensors |= {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is no readable safetensors file: {error}.") from error
    return tensors


def _rename(name: str) -> str:
    for pattern, ours in NAMES:
        name = re.sub(pattern, ours, name)
    return name


def _fuse(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Projections side by side in one matrix; where the parts do not fit, they stay parts."""
    for pattern, whole, parts in FUSED:
        for prefix, kind in {m.groups() for name in tensors if (m := re.match(pattern, name))}:
            names = [f"{prefix}{part}.{kind}" for part in parts]
            shapes = {tensors[name].shape if name in tensors else None for name in names}
            if len(shapes) == 1:
                tensors[f"{prefix}{whole}.{kind}"] = torch.cat([tensors.pop(n) for n in names])
    return tensors


def _names(id2label: dict, folder: Path) -> list[str]:
    """The classes' names in order of their numbers."""
    if not isinstance(id2label, dict) or not all(str(key).isdigit() for key in id2label):
        raise InputError(f"id2label in the config.json of {folder} must name classes by number.")
    return [id2label[key] for key in sorted(id2label, key=int)]
