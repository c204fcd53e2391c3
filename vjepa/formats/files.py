"""Tensors in files and in modules: read without running code, matched name by name; where they go.

Large files are memory-mapped: what nobody asks for (an optimizer's state) never enters memory.
"""

from __future__ import annotations

import ctypes
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.errors import InputError


@dataclass
class StoredModel:
    """A model as a file holds it; its tensors may still lie on the disk.

    Attributes:
        config: its shape.
        tensors: by our names.
        origin: where it comes from, for errors.
        positions: added positions (1, N, D) that are in the file, by our names; where there are
            none, they are computed.
    """

    config: ModelConfig
    tensors: dict[str, Tensor]
    origin: str
    positions: dict[str, Tensor] = field(default_factory=dict)


def unpickle(path: Path) -> dict:
    """The dictionary in a PyTorch file, memory-mapped; code inside a pickle is never run.

    Raises:
        InputError: the file is no PyTorch file, is damaged, or holds code.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # a file of anything makes the unpickler raise anything
        raise InputError(
            f"{path} is no readable PyTorch checkpoint: it is damaged, or not one at all."
        ) from error
    return state if isinstance(state, dict) else {}


def exists(path: Path) -> bool:
    """Whether something is there; False also for a name that no disk can hold."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long; a null character
        return False


def tensors_of(part: object, name: str, path: Path) -> dict[str, Tensor]:
    """An entry of a PyTorch file as what it should be: tensors by name.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(part, dict):
        raise InputError(f"{path}: its entry {name!r} holds no tensors: it is no such checkpoint.")
    for key, tensor in part.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise InputError(f"{path}: {key} in its entry {name!r} is no tensor with a name.")
    return part


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read_json(path: Path) -> dict:
    """The JSON object in a file.

    Raises:
        InputError: the file holds no JSON, or something else than an object.
    """
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold a JSON object of named values.")
    return values


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file.

    Raises:
        InputError: the file is missing, or is no safetensors file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file: {error}.") from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copies tensors into a module, all of them or none.

    Raises:
        InputError: a tensor is missing, unexpected, or of another shape; the first is named.
    """
    _require_match(module.state_dict(), tensors, origin)
    module.load_state_dict(tensors)


def adopt(
    module: nn.Module, tensors: Mapping[str, Tensor], origin: str, dtype: torch.dtype
) -> None:
    """Gives a module that was built on the meta device its tensors, in another precision.

    A file's tensors leave memory as soon as they are copied, so that at most one of them is there
    twice.

    Args:
        module: takes copies.
        tensors: by name, fresh from a file; not to be used afterwards.
        origin: for the error's text.
        dtype: of the copies.

    Raises:
        InputError: a tensor is missing, unexpected, or of another shape; the first is named.
    """
    _require_match(module.state_dict(), tensors, origin)
    module.load_state_dict({n: _taken(t, dtype) for n, t in tensors.items()}, assign=True)


def _require_match(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], origin: str
) -> None:
    for name in expected:
        if name not in tensors:
            raise InputError(f"{origin} lacks the tensor {name}: it is not this model.")
    for name, tensor in tensors.items():
        if name not in expected:
            raise InputError(f"{origin} holds an unexpected tensor {name}: it is not this model.")
        if tensor.layout != torch.strided or not tensor.is_floating_point():
            raise InputError(f"{origin}: {name} is no dense tensor of floating point numbers.")
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{origin}: {name} has shape {tuple(tensor.shape)}, "
                f"expected {tuple(expected[name].shape)}."
            )


def _taken(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of a tensor, which itself is given up."""
    copy = tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
    _give_back_pages(tensor)
    return copy


def _give_back_pages(tensor: Tensor) -> None:
    """Drops the pages of a tensor that is read; a mapped file would fill memory with them.

    Only whole pages inside the tensor are dropped. Where there is no madvise nothing happens.
    Memory of torch's own (an old file is not mapped) would be zeros then, and tensors may share it.
    """
    if tensor.untyped_storage().resizable():
        return
    size = tensor.numel() * tensor.element_size()
    first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (tensor.data_ptr() + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and tensor.is_contiguous() and last > first:
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


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
