"""The official V-JEPA 2.1 checkpoints (`vjepa2_1_vitb_dist_vitG_384.pt` and its siblings)."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.weights import read_json

PREFIX = "module.backbone."
ENCODER_KEYS = ("ema_encoder", "target_encoder")
"""Where the averaged encoder lies: in the distilled checkpoints, and in the others."""
HEADS = {768: 12, 1024: 16, 1408: 22, 1664: 26}
"""Attention heads of the published encoders, by width."""
PREDICTOR_HEADS = 12
PUBLISHED_SIZE = {"image_size": 384, "num_frames": 64}
LAST_LEVEL = 3


def recognises(state: dict) -> bool:
    """Whether a checkpoint is laid out as V-JEPA 2.1's."""
    return any("norms_block" in name for name in _encoder(state))


def find_config(path: Path, state: dict) -> ModelConfig:
    """The model's shape, from its tensors; heads and clip size from a config.json beside the file.

    Raises:
        InputError: a part is missing, or the heads cannot be known.
    """
    encoder, predictor = _encoder(state), _strip(state["predictor"])
    try:
        kernel = encoder["patch_embed.proj.weight"].shape  # (D, 3, tubelet, patch, patch)
        embed_dim = kernel[0]
        levels = 4 if "predictor_embed.2.weight" in predictor else 1
        predictor_dim = predictor["predictor_norm.weight"].shape[0]
        output_dim = predictor["predictor_proj.weight"].shape[0]
        hidden_dim = encoder["blocks.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise InputError(
            f"{path} lacks the tensor {error.args[0]}: it is not V-JEPA 2.1."
        ) from error
    return ModelConfig.from_dict(
        {
            **_sizes_and_heads(path, embed_dim),
            "family": "vjepa2.1",
            "patch_size": kernel[-1],
            "tubelet_size": kernel[2],
            "embed_dim": embed_dim,
            "depth": _count(encoder, "blocks"),
            "mlp_ratio": hidden_dim / embed_dim,
            "predictor_embed_dim": predictor_dim,
            "predictor_depth": _count(predictor, "predictor_blocks"),
            "num_mask_tokens": _count(predictor, "mask_tokens"),
            "mask_token": 0,  # the only one that was trained
            "levels": levels,
            "teacher_dim": output_dim if levels == 1 else 0,
        }
    )


def rename(state: dict) -> dict[str, Tensor]:
    """The tensors that are used, by our names."""
    return {
        **{f"encoder.{_encoder_name(n)}": t for n, t in _encoder(state).items()},
        **{
            f"predictor.{n.removeprefix('predictor_')}": t
            for n, t in _strip(state["predictor"]).items()
        },
    }


def _encoder(state: dict) -> dict[str, Tensor]:
    found = next((key for key in ENCODER_KEYS if isinstance(state.get(key), dict)), "encoder")
    return _strip(state[found])


def _strip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def _encoder_name(name: str) -> str:
    name = re.sub(r"^(patch_embed|patch_embed_img)\.proj\.", r"\1.", name)
    name = name.replace(f"norms_block.{LAST_LEVEL}.", "norm.")
    return name.replace("norms_block.", "level_norms.")


def _count(tensors: dict[str, Tensor], name: str) -> int:
    """How many numbered parts there are."""
    return 1 + max((int(n.split(".")[1]) for n in tensors if n.startswith(f"{name}.")), default=-1)


def _sizes_and_heads(path: Path, embed_dim: int) -> dict:
    beside = path.parent / "config.json"
    if not beside.is_file():
        if embed_dim not in HEADS:
            raise InputError(
                f"{path} has a width that is not published ({embed_dim}): put a config.json beside "
                "it that names image_size, num_frames, num_heads and predictor_num_heads."
            )
        heads = {"num_heads": HEADS[embed_dim], "predictor_num_heads": PREDICTOR_HEADS}
        return {**PUBLISHED_SIZE, **heads}
    values = read_json(beside)
    if "encoder" not in values:
        return values
    encoder, predictor = values["encoder"], values["predictor"]  # as the official code names them
    return {
        "image_size": encoder["img_size"][0],
        "num_frames": encoder["num_frames"],
        "num_heads": encoder["num_heads"],
        "predictor_num_heads": predictor["num_heads"],
    }
