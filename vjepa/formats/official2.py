"""V-JEPA 2's and 2.1's own files (`vitl.pt`, `vjepa2_1_vitb_dist_vitG_384.pt`), read strictly.

Their positions are rotations and not in the file, so that the clips' size is not either. The file
of V-JEPA 2-AC (`vjepa2-ac-vitg.pt`) holds a predictor of what a robot's actions lead to, which is
no predictor of hidden tokens: it is opened as an encoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.formats import hugging_face
from vjepa.formats.files import StoredModel, read_json

AVERAGED = ("ema_encoder", "target_encoder", "encoder")
"""Where the averaged encoder lies: in the distilled checkpoints, in the others, and where there is
one only."""
SIZES = {768: (12, 12), 1024: (24, 16), 1280: (32, 16), 1408: (40, 22), 1664: (48, 26)}
"""Blocks and attention heads of the published encoders, by width."""
PREDICTOR_HEADS = 12
LAST_LAYER = 3
"""Of the four whose features V-JEPA 2.1 predicts."""
TABLES = ("pos_embed", "predictor_pos_embed")
"""Added positions, which a V-JEPA 2 does not have."""

Parts = Mapping[str, dict[str, Tensor]]


def recognises(parts: Parts, path: Path) -> bool:
    """Whether a checkpoint is V-JEPA 2's or 2.1's: by config.json, or as it adds no positions."""
    family = _beside(path).get("family")
    if isinstance(family, str):
        return family != "vjepa"
    return not any(table in tensors for tensors in parts.values() for table in TABLES)


def read(parts: Parts, path: Path) -> StoredModel:
    """The averaged encoder and the predictor, if it has one of hidden tokens.

    Raises:
        InputError: a tensor that tells a size is missing or misshapen, or a size cannot be known.
    """
    predictor = parts.get("predictor", {})
    acts = any(name.startswith("action_encoder.") for name in predictor)
    predictor = {} if acts else predictor
    order = ("encoder", *AVERAGED) if acts else AVERAGED  # as the official code does
    encoder = next(parts[name] for name in order if name in parts)
    tensors = {
        **{f"encoder.{_encoder_name(n)}": t for n, t in encoder.items() if n not in TABLES},
        **{
            f"predictor.{n.removeprefix('predictor_')}": t
            for n, t in predictor.items()
            if n not in TABLES
        },
    }
    return StoredModel(_config(path, encoder, predictor), tensors, str(path))


def _config(
    path: Path, encoder: Mapping[str, Tensor], predictor: Mapping[str, Tensor]
) -> ModelConfig:
    """The model's shape: from the config.json beside the file, else from its tensors."""
    family = "vjepa2.1" if any("norms_block" in name for name in encoder) else "vjepa2"
    values = _encoder_sizes(path, encoder)
    if predictor:
        values |= _predictor_sizes(path, predictor, family)
    values |= _size_of_clips(path, family) | _given(path)
    _require_heads(path, values, predictor)
    token = 0  # of V-JEPA 2.1 the only one that was trained
    if family == "vjepa2" and predictor:
        tokens = [
            predictor.get(f"mask_tokens.{i}") for i in range(_count(predictor, "mask_tokens"))
        ]
        token = hugging_face.trained_token([t for t in tokens if t is not None])
    return ModelConfig.from_dict(values | {"family": family, "mask_token": token})


def _encoder_sizes(path: Path, encoder: Mapping[str, Tensor]) -> dict[str, Any]:
    width, _, tubelet, _, patch = _shape(path, encoder, "patch_embed.proj.weight", 5)
    hidden, _ = _shape(path, encoder, "blocks.0.mlp.fc1.weight", 2)
    published = {}
    if width in SIZES:
        published = {"num_heads": SIZES[width][1], "predictor_num_heads": PREDICTOR_HEADS}
    return {
        "embed_dim": width,
        "tubelet_size": tubelet,
        "patch_size": patch,
        "mlp_ratio": hidden / width,
        "depth": SIZES[width][0] if width in SIZES else _count(encoder, "blocks"),
        **published,
    }


def _predictor_sizes(path: Path, predictor: Mapping[str, Tensor], family: str) -> dict[str, Any]:
    layers = 4 if "predictor_embed.2.weight" in predictor else 1
    output_dim = _shape(path, predictor, "predictor_proj.weight", 2)[0]
    return {
        "predictor_embed_dim": _shape(path, predictor, "predictor_norm.weight", 1)[0],
        "predictor_depth": _count(predictor, "predictor_blocks"),
        "num_mask_tokens": _count(predictor, "mask_tokens"),
        "target_layers": layers,
        "teacher_dim": output_dim if family == "vjepa2.1" and layers == 1 else 0,
    }


def _shape(path: Path, tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that tells a size."""
    if name not in tensors:
        raise InputError(f"{path} lacks the tensor {name}: it is no V-JEPA 2 or 2.1.")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes or not all(shape):
        raise InputError(f"{path}: {name} has shape {shape}, which no V-JEPA 2 or 2.1 has.")
    return shape


def _size_of_clips(path: Path, family: str) -> dict[str, int]:
    """As published: 384 pixels for V-JEPA 2.1 and where a file is called so (`vitg-384.pt`)."""
    large = family == "vjepa2.1" or "384" in path.name
    return {"image_size": 384 if large else 256, "num_frames": 64}


def _require_heads(path: Path, values: Mapping, predictor: Mapping) -> None:
    needed = ("num_heads", "predictor_num_heads") if predictor else ("num_heads",)
    if not all(name in values for name in needed):
        raise InputError(
            f"{path} is laid out as V-JEPA 2's own files and has a width that is not published "
            f"({values['embed_dim']}): put a config.json beside it that names image_size, "
            "num_frames, num_heads and predictor_num_heads; published models come with python -m "
            "vjepa download."
        )


def _beside(path: Path) -> dict[str, Any]:
    config = path.parent / "config.json"
    return read_json(config) if config.is_file() else {}


def _given(path: Path) -> dict[str, Any]:
    """What the config.json beside a file says: ours, transformers' or the official code's."""
    values = _beside(path)
    if values.get("model_type") == hugging_face.MODEL_TYPE:
        return hugging_face.find_config(path.parent).to_dict()
    if "encoder" not in values:
        return values
    try:
        encoder, predictor = values["encoder"], values.get("predictor", {})
        heads = predictor.get("num_heads", PREDICTOR_HEADS)
        return {
            "image_size": encoder["img_size"][0],
            "num_frames": encoder["num_frames"],
            "num_heads": encoder["num_heads"],
            "predictor_num_heads": heads,
        }
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InputError(
            f"The config.json beside {path} must name img_size, num_frames and num_heads of the "
            "encoder, and num_heads of the predictor."
        ) from error


def _encoder_name(name: str) -> str:
    name = re.sub(r"^(patch_embed|patch_embed_img)\.proj\.", r"\1.", name)
    name = name.replace(f"norms_block.{LAST_LAYER}.", "norm.")
    return name.replace("norms_block.", "level_norms.")


def _count(tensors: Mapping[str, Tensor], name: str) -> int:
    """How many numbered parts there are."""
    found = (re.match(rf"{name}\.(\d{{1,9}})(\.|$)", key) for key in tensors)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
