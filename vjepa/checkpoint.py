"""Models on disk, and the one door to them: `load`."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.formats import hugging_face, official, official2, published
from vjepa.formats.files import (
    StoredModel,
    adopt,
    default_device,
    default_dtype,
    exists,
    fill,
    is_safetensors,
    read_json,
    read_safetensors,
    read_weights,
    settle,
    unwrapped,
)
from vjepa.formats.published import BUNDLED
from vjepa.model import VJEPA
from vjepa.storage import replacing, require_checksums, require_writable
from vjepa.tokens import SinCosPositions
from vjepa.vjepa2 import VJEPA2, VJEPA21, RotaryPositions, RotaryVJEPA

MODELS = {"vjepa": VJEPA, "vjepa-rotary": RotaryVJEPA, "vjepa2": VJEPA2, "vjepa2.1": VJEPA21}
"""The model of each family."""


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
        name: "physics", "video" or "demo"; a published model that was downloaded, by name; a folder
            of ours (config.json, model.safetensors); an official checkpoint of V-JEPA, V-JEPA 2
            (the action-conditioned one too, as an encoder) or V-JEPA 2.1 (`.pth.tar`, `.pt`), with
            a config.json beside it when its widths are not the published ones; a transformers
            V-JEPA 2 folder; a `.safetensors` file with its config.json beside it; the Hugging Face
            cache's folder of a repository; a folder with one checkpoint in it. Of a file without a
            predictor the model encodes, and `predict` raises an InputError.
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
    path = settle(find(name))
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
    stored = _read(settle(path))
    if any(name.startswith("predictor.") for name in stored.tensors):
        return stored
    config = replace(stored.config, predictor_depth=0, teacher_dim=0)
    if config.family == "vjepa2.1":  # targets are then its own four layers'
        config = replace(config, target_layers=official2.LAST_LAYER + 1)
    return replace(stored, config=config)


def _read(path: Path) -> StoredModel:
    if path.is_dir():
        return _read_folder(path)
    if not is_safetensors(path):
        return official.read(path)
    tensors = read_safetensors(path)
    if any(name.endswith(official.PATCHES) for name in tensors):
        return official.understand(tensors, path)
    return _read_folder(path.parent, path)


def _read_folder(folder: Path, file: Path | None = None) -> StoredModel:
    """The model of a config.json, its weights in a file of their own or the folder's."""
    if hugging_face.recognises(folder):
        return hugging_face.read(folder, file)
    config, origin = read_config(folder / "config.json"), str(file or folder)
    tensors = read_safetensors(file) if file else read_weights(folder)
    return StoredModel(config, unwrapped(tensors, origin), origin)


def build(stored: StoredModel, config: ModelConfig, dtype: torch.dtype) -> VJEPA:
    """The model of a file, for clips of the config's size, on the CPU.

    Raises:
        InputError: there is no such family; a tensor is missing, unexpected, or of another shape,
            and the first is named.
    """
    with torch.device("meta"):  # no memory, and no time for first weights that nobody uses
        model = fresh(config)
    if not config.predictor_depth:
        model.predictor = NoPredictor()
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


class NoPredictor(nn.Module):
    """Takes the predictor's place in a model whose file holds none."""

    def forward(self, *_: object, **__: object) -> None:
        """Predicts nothing.

        Raises:
            InputError: always.
        """
        raise InputError(NO_PREDICTOR)

    def untrained_tokens(self) -> tuple[int, ...]:
        """There are no mask tokens."""
        return ()


NO_PREDICTOR = (
    "This model's file holds an encoder and no predictor of hidden tokens: it encodes clips; open "
    "a file with both to predict."
)


def require_predictor(config: ModelConfig) -> None:
    """Checks that a model predicts, before work is begun for nothing.

    Raises:
        InputError: its file holds an encoder alone.
    """
    if not config.predictor_depth:
        raise InputError(NO_PREDICTOR)


def _resized(config: ModelConfig, num_frames: int | None, image_size: int | None) -> ModelConfig:
    return replace(
        config,
        num_frames=num_frames or config.num_frames,
        image_size=image_size or config.image_size,
    )


def save(model: torch.nn.Module, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes a model that has a `config` as a folder: config.json and model.safetensors.

    Args:
        model: any that `load` gives.
        folder: made when it is missing.
        dtype: of the numbers in the file; float32 loses none of them.

    Raises:
        InputError: the disk is full, or refuses.
    """
    folder = Path(folder)
    require_writable(folder)
    tensors = {name: t.to(dtype).contiguous().cpu() for name, t in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as file:
        save_file(tensors, file)
    with replacing(folder / "config.json") as file:
        file.write_text(json.dumps(model.config.to_dict(), indent=1) + "\n")


def require_whole(path: Path) -> None:
    """Opens a model's file and compares it with the model of its shape, tensor by tensor.

    Raises:
        InputError: it is damaged, or lacks a tensor, has one too many or one of another shape.
    """
    require_checksums(path)
    stored = read(path)
    build(stored, stored.config, torch.bfloat16)


def fill_from(model: torch.nn.Module, folder: Path) -> None:
    """Copies the tensors of a folder's model.safetensors into a model.

    Raises:
        InputError: the file is missing or unreadable, or it is another model's.
    """
    fill(model, read_weights(folder), str(folder / "model.safetensors"))


class Fingerprint:
    """What tells a model from others: 12 hex digits of all its weights.

    Args:
        model: its weights are looked at when they are first asked for, and not again.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __str__(self) -> str:
        """Of the weights as they are: the last bit of any changes it."""
        return self._exact

    @property
    def mark(self) -> str:
        """What is written down, to know the model by in another precision too."""
        return f"{LOW if self._is_low else self._exact}-{self._rounded}"

    def matches(self, mark: str) -> bool:
        """Whether a mark, or a fingerprint from before there were marks, is this model's.

        By all bits of the weights where both were made of them; where either model was in
        bfloat16, by those that bfloat16 has.
        """
        exact, dash, rounded = mark.partition("-")
        if not dash:
            return exact == self._first
        low = exact == LOW or self._is_low
        return rounded == self._rounded if low else exact == self._exact

    @property
    def _is_low(self) -> bool:
        return any(tensor.dtype == torch.bfloat16 for tensor in self._model.parameters())

    @cached_property
    def _exact(self) -> str:
        return self._digest(torch.float32)

    @cached_property
    def _rounded(self) -> str:
        return self._digest(torch.bfloat16)

    def _digest(self, dtype: torch.dtype) -> str:
        """Of every number, rounded to a precision and written out in float32's bits."""
        digest = hashlib.sha256()
        for name, tensor in self._model.state_dict().items():
            check = 0
            for part in tensor.detach().flatten().split(DIGESTED):
                check = zlib.crc32(part.to("cpu", dtype).float().numpy(), check)
            digest.update(f"{name} {tuple(tensor.shape)} {check}".encode())
        return digest.hexdigest()[:12]

    @cached_property
    def _first(self) -> str:
        """Of the first numbers of every tensor: all there was before all were looked at."""
        digest = hashlib.sha256()
        for name, tensor in self._model.state_dict().items():
            head = tensor.detach().flatten()[:FIRST_NUMBERS].to("cpu", torch.bfloat16)
            digest.update(name.encode() + head.contiguous().view(torch.int16).numpy().tobytes())
        return digest.hexdigest()[:12]


LOW = "bfloat16"
"""Stands in the mark of a model whose weights have no further bits."""
DIGESTED, FIRST_NUMBERS = 1 << 22, 256
"""Numbers of a tensor at a time, so that memory stays what it is; and of each, formerly."""


def fingerprint(model: torch.nn.Module) -> str:
    """12 hex digits of all of a model's weights, as they are: see `Fingerprint`."""
    return str(Fingerprint(model))


def read_config(path: Path) -> ModelConfig:
    """The model shape in a config.json.

    Raises:
        InputError: the file is missing, is no JSON object, or holds impossible values.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: a model needs its config.json.")
    return ModelConfig.from_dict(read_json(path))
