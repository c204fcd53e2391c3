"""Models on disk, and the one door to them: `load`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.formats import hugging_face, official, published
from vjepa.formats.files import (
    StoredModel,
    adopt,
    default_device,
    default_dtype,
    exists,
    fill,
    read_json,
    read_safetensors,
)
from vjepa.model import VJEPA
from vjepa.tokens import SinCosPositions
from vjepa.vjepa2 import VJEPA2, VJEPA21, RotaryPositions, RotaryVJEPA

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUNDLED = {"demo": ASSETS / "demo" / "model"}
"""Models that ship with the project, by name."""
MODELS = {"vjepa": VJEPA, "vjepa-rotary": RotaryVJEPA, "vjepa2": VJEPA2, "vjepa2.1": VJEPA21}
"""The model of each family."""
FINGERPRINT_NUMBERS = 256
"""Of each tensor."""


def load(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    num_frames: int | None = None,
    image_size: int | None = None,
) -> VJEPA:
    """A frozen model, ready to encode and predict.

    Args:
        name: "demo"; a published model that was downloaded, by name; a folder of ours
            (config.json, model.safetensors); an official V-JEPA or V-JEPA 2.1 checkpoint
            (`.pth.tar`, `.pt`), with a config.json beside it when its widths are not the published
            ones; a transformers V-JEPA 2 folder.
        device: where to put it; a GPU when there is one.
        dtype: precision; bfloat16 where the machine computes in it, else float32.
        num_frames, image_size: of the clips, when they are to be others than the model was
            trained on. Added positions are interpolated.

    Raises:
        InputError: nothing is there, or it is no such model; the message names what is wrong.
    """
    device = torch.device(device or default_device())
    stored = read(find(name))
    config = _resized(stored.config, num_frames, image_size)
    model = build(stored, config, dtype or default_dtype(device)).to(device)
    return model.eval().requires_grad_(False)


def peek_config(name: str | Path) -> ModelConfig:
    """The shape of a model that `load` would open; its weights are not read.

    Raises:
        InputError: nothing is there, or it is no such model.
    """
    path = find(name)
    if path.is_dir() and not hugging_face.recognises(path):
        return read_config(path / "config.json")
    return read(path).config


def find(name: str | Path) -> Path:
    """Where a model lies, from its name or path.

    Raises:
        InputError: nothing is there.
    """
    name = str(name)
    path = BUNDLED.get(name) or published.find(name) or Path(name)
    if not exists(path) and published.get(name):
        raise InputError(published.how_to_get(name))
    if not exists(path):
        raise InputError(
            f"There is no model {name!r}: give {', '.join(BUNDLED)}, a folder with config.json and "
            "model.safetensors, an official .pth.tar or .pt, or a name from python -m vjepa models."
        )
    return path


def read(path: Path) -> StoredModel:
    """A model as its file or folder holds it; large files are mapped, not read.

    Raises:
        InputError: it is no model that can be read; the message names what is wrong.
    """
    if path.is_file():
        return official.read(path)
    if hugging_face.recognises(path):
        return hugging_face.read(path)
    return StoredModel(read_config(path / "config.json"), _tensors_in(path), str(path))


def build(stored: StoredModel, config: ModelConfig, dtype: torch.dtype) -> VJEPA:
    """The model of a file, for clips of the config's size, on the CPU.

    Raises:
        InputError: there is no such family; a tensor is missing, unexpected, or of another shape,
            and the first is named.
    """
    with torch.device("meta"):  # no memory, and no time for first weights that nobody uses
        model = fresh(config)
    adopt(model, stored.tensors, stored.origin, dtype)
    for name, part in model.named_modules():
        if isinstance(part, SinCosPositions | RotaryPositions):
            table = stored.positions.get(name)
            part.place(stored.config.grid, None if table is None else table[0])
    return model


def fresh(config: ModelConfig) -> VJEPA:
    """A model of this shape with first weights, drawn from torch's own generator.

    Raises:
        InputError: there is no such family.
    """
    if config.family not in MODELS:
        known = ", ".join(MODELS)
        raise InputError(f"family must be one of {known}, not {config.family!r}.")
    return MODELS[config.family](config)


def _resized(config: ModelConfig, num_frames: int | None, image_size: int | None) -> ModelConfig:
    return replace(
        config,
        num_frames=num_frames or config.num_frames,
        image_size=image_size or config.image_size,
    )


def save(model: torch.nn.Module, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes a model that has a `config` as a folder: config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.to(dtype).contiguous().cpu() for name, t in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1) + "\n")


def fill_from(model: torch.nn.Module, folder: Path) -> None:
    """Copies the tensors of a folder's model.safetensors into a model.

    Raises:
        InputError: the file is missing or unreadable, or it is another model's.
    """
    fill(model, _tensors_in(folder), str(folder / "model.safetensors"))


def _tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(f"{folder} has no model.safetensors: it is no model folder.")
    return read_safetensors(path)


def fingerprint(model: torch.nn.Module) -> str:
    """12 hex digits that tell models apart by their weights, in whatever precision they are.

    The first numbers of every tensor stand for all of them: even a large model's take no time.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        head = tensor.detach().flatten()[:FINGERPRINT_NUMBERS].to("cpu", torch.bfloat16)
        digest.update(name.encode() + head.contiguous().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:12]


def read_config(path: Path) -> ModelConfig:
    """The model shape in a config.json.

    Raises:
        InputError: the file is missing, is no JSON object, or holds impossible values.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: a model needs its config.json.")
    return ModelConfig.from_dict(read_json(path))
