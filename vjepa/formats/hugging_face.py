"""V-JEPA 2 as transformers keeps it: a folder with config.json and safetensors, read strictly.

A classifier's folder holds its attentive probe too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.formats.files import StoredModel, read_json, read_safetensors, read_weights, unwrapped

MODEL_TYPE = "vjepa2"
FIELDS = {
    "image_size": "crop_size",
    "num_frames": "frames_per_clip",
    "tubelet_size": "tubelet_size",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "mlp_ratio": "mlp_ratio",
    "predictor_embed_dim": "pred_hidden_size",
    "predictor_depth": "pred_num_hidden_layers",
    "predictor_num_heads": "pred_num_attention_heads",
    "num_mask_tokens": "pred_num_mask_tokens",
}
DEFAULTS = {
    "crop_size": 256,
    "frames_per_clip": 64,
    "pred_num_attention_heads": 12,
    "pred_num_mask_tokens": 10,
    "patch_size": 16,
}
"""Those of transformers, where they differ from ours: a config.json may leave them out."""
ONLY = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "pred_mlp_ratio": 4.0}
"""What a published V-JEPA 2 has, and our blocks know."""
MASK_TOKEN = 1
"""The one that transformers' predictor takes."""
PROBE = ("pooler.", "classifier.")
NAMES = (
    (r"^vjepa2\.", ""),
    (r"^encoder\.embeddings\.patch_embeddings\.proj\.", "encoder.patch_embed."),
    (r"^predictor\.embeddings\.predictor_embeddings\.", "predictor.embed."),
    (r"^(encoder|predictor)\.layernorm\.", r"\1.norm."),
    (r"^(encoder|predictor)\.layer\.(\d+)\.", r"\1.blocks.\2."),
    (r"\.attention\.", ".attn."),
)
MASK_TOKENS = "predictor.embeddings.mask_tokens"


def recognises(folder: Path) -> bool:
    """Whether a folder holds a transformers V-JEPA 2."""
    config = folder / "config.json"
    return config.is_file() and read_json(config).get("model_type") == MODEL_TYPE


def find_config(folder: Path) -> ModelConfig:
    """The model's shape, from transformers' config.json.

    Raises:
        InputError: values that no V-JEPA 2 has.
    """
    values = {**DEFAULTS, **read_json(folder / "config.json")}
    for name, only in ONLY.items():
        if values.get(name, only) != only:
            raise InputError(f"{folder}: {name} {values[name]!r} is not V-JEPA 2's ({only!r}).")
    patch = values["patch_size"]
    return ModelConfig.from_dict(
        {
            **{ours: values[theirs] for ours, theirs in FIELDS.items() if theirs in values},
            "patch_size": patch[0] if isinstance(patch, list) and patch else patch,
            "family": "vjepa2",
            "mask_token": MASK_TOKEN,
        }
    )


def read(folder: Path, file: Path | None = None) -> StoredModel:
    """The model, without the probe that may lie in the same folder.

    Args:
        folder: with its config.json.
        file: of the weights, where it is not the folder's own.

    Raises:
        InputError: there is no safetensors file, or an unreadable one, or another model's config.
    """
    theirs = unwrapped(read_safetensors(file) if file else read_weights(folder), str(folder))
    named = {_rename(n, NAMES): t for n, t in theirs.items() if not n.startswith(PROBE)}
    tokens = named.pop(MASK_TOKENS, torch.empty(0))
    config = replace(find_config(folder), mask_token=trained_token(tokens))
    named |= {f"predictor.mask_tokens.{i}": token for i, token in enumerate(tokens)}
    return StoredModel(config, _fuse_attention(named), str(file or folder))


def trained_token(tokens: Sequence[Tensor] | Tensor) -> int:
    """The mask token to use: transformers' own, or where that is still zero, one that is not."""
    trained = [i for i, token in enumerate(tokens) if token.any()]
    return trained[0] if trained and MASK_TOKEN not in trained else MASK_TOKEN


def _rename(name: str, names: tuple[tuple[str, str], ...]) -> str:
    """A tensor's name as ours."""
    for pattern, ours in names:
        name = re.sub(pattern, ours, name)
    return name


def _fuse_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value in one matrix, in the order of ours."""
    fused = {n: t for n, t in tensors.items() if not re.search(r"\.attn\.(query|key|value)\.", n)}
    for name in [n for n in tensors if ".attn.query." in n]:
        parts = [tensors.get(name.replace("query", part)) for part in ("query", "key", "value")]
        if all(part is not None for part in parts):
            fused[name.replace("query", "qkv")] = torch.cat(parts)
    return fused


PROBE_NORM_EPS = 1e-6
"""Of every LayerNorm, unlike V-JEPA's probes."""
PROBE_NAMES = (
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
    theirs = read_weights(folder, lambda name: name.startswith(PROBE))
    if "pooler.query_tokens" not in theirs:
        raise InputError(
            f"{folder} holds no probe, only a model: give the folder of a V-JEPA 2 classifier."
        )
    tensors = _fuse_probe({_rename(name, PROBE_NAMES): tensor for name, tensor in theirs.items()})
    config = read_json(folder / "config.json")
    return {**tensors, "query": tensors["query"].flatten()}, {
        "probe_num_heads": config.get("num_attention_heads", 16),
        "norm_eps": PROBE_NORM_EPS,
        "classes": _class_names(config.get("id2label", {}), folder),
    }


def _fuse_probe(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Projections side by side in one matrix; where the parts do not fit, they stay parts."""
    for pattern, whole, parts in FUSED:
        for prefix, kind in {m.groups() for name in tensors if (m := re.match(pattern, name))}:
            names = [f"{prefix}{part}.{kind}" for part in parts]
            shapes = {tensors[name].shape if name in tensors else None for name in names}
            if len(shapes) == 1:
                tensors[f"{prefix}{whole}.{kind}"] = torch.cat([tensors.pop(n) for n in names])
    return tensors


def _class_names(id2label: dict, folder: Path) -> list[str]:
    """The classes' names in order of their numbers."""
    if not isinstance(id2label, dict) or not all(str(key).isdigit() for key in id2label):
        raise InputError(f"id2label in the config.json of {folder} must name classes by number.")
    return [id2label[key] for key in sorted(id2label, key=int)]
