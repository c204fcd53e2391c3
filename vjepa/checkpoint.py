"""Models on disk: a folder with config.json and model.safetensors, or an official file.

`load` is the one door: the bundled model by name, a folder of ours, an official `.pth.tar`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vjepa import official
from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.model import VJEPA

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUNDLED = {"demo": ASSETS / "demo" / "model"}
"""Models that ship with the project, by name."""


def load(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> VJEPA:
    """A frozen model, ready to encode and predict.

    Args:
        source: "demo", a folder of ours (config.json, model.safetensors), or an official V-JEPA
            `.pth.tar`, with a config.json beside it when its widths are not the published ones.
        device: where to put it; a GPU when there is one.
        dtype: precision; bfloat16 where the machine computes in it, else float32.

    Raises:
        InputError: nothing is there, or it is no such model; the message names what is wrong.
    """
    path = BUNDLED.get(str(source), Path(source))
    if path.is_dir():
        model = load_folder(path)
    elif path.is_file():
        model = official.load(path)
    else:
        raise InputError(
            f"There is no model {str(source)!r}: give {', '.join(BUNDLED)}, a folder with "
            "config.json and model.safetensors, or an official .pth.tar file."
        )
    device = torch.device(device or default_device())
    model = model.to(device=device, dtype=dtype or default_dtype(device))
    return model.eval().requires_grad_(False)


def default_device() -> torch.device:
    """The GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the machine computes in it, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32


def save(model: torch.nn.Module, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes a model that has a `config` as a folder: config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.to(dtype).contiguous().cpu() for name, t in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1) + "\n")


def load_folder(folder: Path) -> VJEPA:
    """A model of ours, in float32 on the CPU.

    Raises:
        InputError: a file is missing or unreadable, or a tensor missing, unexpected or misshapen.
    """
    model = VJEPA(read_config(folder / "config.json"))
    fill_from(model, folder)
    return model


def fill_from(model: torch.nn.Module, folder: Path) -> None:
    """Copies the tensors of a folder's model.safetensors into a model.

    Raises:
        InputError: the file is missing or unreadable, or it is another model's.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(f"{folder} has no model.safetensors: it is no model folder.")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is no readable safetensors file: {error}.") from error
    fill(model, tensors, str(path))


def read_config(path: Path) -> ModelConfig:
    """The model shape in a config.json.

    Raises:
        InputError: the file is missing, is no JSON object, or holds impossible values.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: a model needs its config.json.")
    return ModelConfig.from_dict(read_json(path))


def read_json(path: Path) -> dict:
    """The JSON object in a file.

    Raises:
        InputError: the file holds no JSON, or something else than an object.
    """
    try:
        values = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold a JSON object of named values.")
    return values


def fill(module: torch.nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copies tensors into a module, all of them or none.

    Raises:
        InputError: a tensor is missing, unexpected, or of another shape; the first is named.
    """
    expected = module.state_dict()
    for name in expected:
        if name not in tensors:
            raise InputError(f"{source} lacks the tensor {name}: it is not this model.")
    for name, tensor in tensors.items():
        if name not in expected:
            raise InputError(f"{source} holds an unexpected tensor {name}: it is not this model.")
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{source}: {name} has shape {tuple(tensor.shape)}, "
                f"expected {tuple(expected[name].shape)}."
            )
    module.load_state_dict(tensors)
