"""The files that the official code writes, read strictly.

V-JEPA (`vitl16.pth.tar` and its siblings) with its probes, then V-JEPA 2.1
(`vjepa2_1_vitb_dist_vitG_384.pt` and its siblings).
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from vjepa.config import SHAPES, ModelConfig
from vjepa.errors import InputError
from vjepa.formats.files import StoredModel, read_json, tensors_of, unpickle

PREFIX = "module.backbone."
PARTS = {"encoder", "predictor", "target_encoder", "ema_encoder"}
PROBE_PREFIX = re.compile(r"^module\.(pooler\.)?(cross_attention_block\.)?(xattn\.)?")
PROBE_QUERY = "module.pooler.query_tokens"
KNOWN_SHAPES = {
    (config.embed_dim, config.num_tokens): config
    for name, config in SHAPES.items()
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
    if _is_21(state):
        return StoredModel(_config_21(path, state), _renamed_21(state), str(path))
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


ENCODER_KEYS = ("ema_encoder", "target_encoder")
"""Where the averaged encoder lies: in the distilled checkpoints, and in the others."""
HEADS_21 = {768: 12, 1024: 16, 1408: 22, 1664: 26}
"""Attention heads of the published encoders, by width."""
PREDICTOR_HEADS_21 = 12
SIZE_21 = {"image_size": 384, "num_frames": 64}
LAST_LAYER = 3


def _is_21(state: dict) -> bool:
    """Whether a checkpoint is laid out as V-JEPA 2.1's."""
    return any("norms_block" in name for name in _encoder_21(state))


def _config_21(path: Path, state: dict) -> ModelConfig:
    """The model's shape, from its tensors; heads and clip size from a config.json beside the file.

    Raises:
        InputError: a part is missing, or the heads cannot be known.
    """
    encoder, predictor = _encoder_21(state), _strip(state["predictor"])
    try:
        kernel = encoder["patch_embed.proj.weight"].shape  # (D, 3, tubelet, patch, patch)
        embed_dim = kernel[0]
        layers = 4 if "predictor_embed.2.weight" in predictor else 1
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
            "target_layers": layers,
            "teacher_dim": output_dim if layers == 1 else 0,
        }
    )


def _renamed_21(state: dict) -> dict[str, Tensor]:
    """The tensors that are used, by our names."""
    return {
        **{f"encoder.{_encoder_name_21(n)}": t for n, t in _encoder_21(state).items()},
        **{
            f"predictor.{n.removeprefix('predictor_')}": t
            for n, t in _strip(state["predictor"]).items()
        },
    }


def _encoder_21(state: dict) -> dict[str, Tensor]:
    found = next((key for key in ENCODER_KEYS if isinstance(state.get(key), dict)), "encoder")
    return _strip(state[found])


def _strip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def _encoder_name_21(name: str) -> str:
    name = re.sub(r"^(patch_embed|patch_embed_img)\.proj\.", r"\1.", name)
    name = name.replace(f"norms_block.{LAST_LAYER}.", "norm.")
    return name.replace("norms_block.", "level_norms.")


def _count(tensors: dict[str, Tensor], name: str) -> int:
    """How many numbered parts there are."""
    return 1 + max((int(n.split(".")[1]) for n in tensors if n.startswith(f"{name}.")), default=-1)


def _sizes_and_heads(path: Path, embed_dim: int) -> dict:
    beside = path.parent / "config.json"
    if not beside.is_file():
        if embed_dim not in HEADS_21:
            raise InputError(
                f"{path} has a width that is not published ({embed_dim}): put a config.json beside "
                "it that names image_size, num_frames, num_heads and predictor_num_heads."
            )
        heads = {"num_heads": HEADS_21[embed_dim], "predictor_num_heads": PREDICTOR_HEADS_21}
        return {**SIZE_21, **heads}
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
