"""V-JEPA 2 as transformers keeps it: a folder with config.json and safetensors, read strictly."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.weights import StoredModel, read_json, read_safetensors

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


def read(folder: Path) -> StoredModel:
    """The model, without the probe that may lie in the same folder.

    Raises:
        InputError: there is no safetensors file, or an unreadable one, or another model's config.
    """
    theirs: dict[str, Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        theirs |= read_safetensors(path)
    if not theirs:
        raise InputError(f"{folder} has no model.safetensors: it is no model folder.")
    named = {_rename(n): t for n, t in theirs.items() if not n.startswith(PROBE)}
    tokens = named.pop(MASK_TOKENS, torch.empty(0))
    config = replace(find_config(folder), mask_token=_trained_token(tokens))
    named |= {f"predictor.mask_tokens.{i}": token for i, token in enumerate(tokens)}
    return StoredModel(config, _fuse_attention(named), str(folder))


def _trained_token(tokens: Tensor) -> int:
    """The mask token to use: transformers' own, or where that is still zero, one that is not."""
    trained = [i for i, token in enumerate(tokens) if token.any()]
    return trained[0] if trained and MASK_TOKEN not in trained else MASK_TOKEN


def _rename(name: str) -> str:
    for pattern, ours in NAMES:
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
