"""Tensors in files and in modules: read without running code, matched name by name; where they go.

Large files are memory-mapped: what nobody asks for (an optimizer's state) never enters memory.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
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


class Aside:
    """Stands for an object beside the weights: takes what is said of it, and keeps nothing."""

    def __new__(cls, *_: object) -> Aside:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


DATA = [
    *"argparse.Namespace types.SimpleNamespace copyreg._reconstructor decimal.Decimal".split(),
    *"fractions.Fraction uuid.UUID numpy.ndarray numpy.dtype numpy.bool numpy.bool_".split(),
    *(f"builtins.{kind.__name__}" for kind in (object, list, dict, tuple, str, bytes, int, float)),
    *(f"builtins.{kind.__name__}" for kind in (bool, frozenset, slice, range)),
    *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"numpy.dtypes.{kind}" for kind in vars(np.dtypes) if kind.endswith("DType")),
    *(f"numpy.{kind.__name__}" for kind in set(np.sctypeDict.values())),
    *(
        f"{home}.{kind}"
        for home in ("numpy.core.multiarray", "numpy._core.multiarray")
        for kind in ("scalar", "_reconstruct")
    ),
    *(
        f"{home}.{kind}Path"
        for home in ("pathlib", "pathlib._local")
        for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")
    ),
]
"""What settings and numbers beside the weights are made of, by name: it is passed over."""
FOREIGN = re.compile(r"GLOBAL ([\w.]{1,200})|``([\w.]{1,200})`` must be imported")
"""How torch names what it does not unpickle."""
_UNPICKLING = Lock()  # torch keeps one table of the names for all threads


def unpickle(path: Path) -> dict:
    """The dictionary in a PyTorch file, memory-mapped; code inside a pickle is never run.

    Settings and numbers that training code keeps beside the weights (an argparse.Namespace, NumPy
    numbers, paths) are passed over: none of them is made.

    Raises:
        InputError: the file is no PyTorch file, is damaged, or holds other objects than tensors
            and such data; the first is named.
    """
    passed_over = torch.serialization.safe_globals([(Aside, name) for name in DATA])
    try:
        with _UNPICKLING, passed_over:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # a file of anything makes the unpickler raise anything
        if found := re.search(FOREIGN, str(error)):
            raise InputError(
                f"{path} holds a {found[1] or found[2]} beside its tensors, which may be code and "
                "was not run: save the state_dict alone, or leave that out."
            ) from error
        if (protocol := _protocol(path)) > 2:
            raise InputError(
                f"{path} was saved with pickle protocol {protocol}, which cannot be read without "
                "running it: save it with that of torch.save, 2."
            ) from error
        raise InputError(
            f"{path} is no readable PyTorch checkpoint: it is damaged, or not one at all."
        ) from error
    return state if isinstance(state, dict) else {}


def _protocol(path: Path) -> int:
    """The pickle protocol of a PyTorch file; 0 where that is not to be seen."""
    with suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        for name in filter(lambda name: name.endswith("data.pkl"), archive.namelist()):
            with archive.open(name) as file:
                mark, protocol = (*file.read(2), 0, 0)[:2]
                return protocol if mark == ord(pickle.PROTO) else 0
    return 0


def exists(path: Path) -> bool:
    """Whether a file or folder is there.

    False also for a pipe or a device, which are read without an end, and for a name that no disk
    can hold.
    """
    try:
        return path.is_file() or path.is_dir()
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


WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Of weights in several files: which tensor is in which."""


def is_safetensors(path: Path) -> bool:
    """Whether a file is one of tensors, by its name or, in a cache without names, its beginning."""
    if path.suffix.lower() == ".safetensors":
        return True
    try:
        with path.open("rb") as file:
            length, first = int.from_bytes(file.read(8), "little"), file.read(1)
    except OSError:  # that it cannot be read is said by who reads it
        return False
    return first == b"{" and length < path.stat().st_size


def read_safetensors(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, Tensor]:
    """The tensors in a safetensors file, memory-mapped.

    Args:
        path: of the file.
        wanted: takes a name and says whether its tensor is read; all are by default.

    Raises:
        InputError: the file is missing, or is no safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            names = filter(wanted, file.keys()) if wanted else file.keys()
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file: {error}.") from error


def read_weights(folder: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, Tensor]:
    """The tensors of a model's folder: model.safetensors, else what its index names and no more.

    Args:
        folder: of the model.
        wanted: as in `read_safetensors`.

    Raises:
        InputError: neither is there, a file that the index names is missing or unreadable, or lacks
            a tensor that it should hold.
    """
    if (folder / WEIGHTS).is_file():
        return read_safetensors(folder / WEIGHTS, wanted)
    if not (folder / INDEX).is_file():
        raise InputError(f"{folder} has no {WEIGHTS}: it is no model folder{_others(folder)}.")
    tensors: dict[str, Tensor] = {}
    for file, names in _indexed(folder).items():
        found = read_safetensors(folder / file, names.__contains__)
        if missing := sorted(names - found.keys()):
            raise InputError(f"{folder / file} lacks the tensor {missing[0]} that {INDEX} names.")
        tensors |= found
    return {name: t for name, t in tensors.items() if wanted is None or wanted(name)}


def _indexed(folder: Path) -> dict[str, set[str]]:
    """The files that an index names, and the tensors of each."""
    table = read_json(folder / INDEX).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise InputError(f"{folder / INDEX} has no weight_map: get it anew.")
    files: dict[str, set[str]] = {}
    for name, file in table.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise InputError(f"{folder / INDEX} names no file beside it for {name}: get it anew.")
        files.setdefault(file, set()).add(name)
    for file in files:
        if not (folder / file).is_file():
            raise InputError(f"{folder} lacks the file {file} that {INDEX} names: get it too.")
    return files


def _others(folder: Path) -> str:
    """What a person may have meant in a folder without model.safetensors."""
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    return f"; is {found[0]} meant, name that file itself" if found else ""


CHECKPOINTS = (".pt", ".pth", ".tar", ".ckpt")


def settle(path: Path) -> Path:
    """What a folder stands for: a snapshot in a Hugging Face cache, or the one checkpoint in it.

    Returns:
        The path itself where it is a file, or a folder with model.safetensors or its index.

    Raises:
        InputError: it holds several, so that one must be named.
    """
    if not path.is_dir() or (path / WEIGHTS).is_file() or (path / INDEX).is_file():
        return path
    if path.name == "snapshots" and not (path / "snapshots").is_dir():
        path = path.parent
    if (path / "snapshots").is_dir():
        return settle(_snapshot(path))
    inside = [p for p in path.iterdir() if p.suffix.lower() in CHECKPOINTS and p.is_file()]
    found = sorted(p for p in inside if not re.search(r"(^|[-_])probe\b", p.name))
    found = found or sorted(p for p in path.glob("models--*") if p.is_dir())
    if len(found) > 1:
        names = ", ".join(p.name for p in found[:4])
        raise InputError(f"{path} holds {len(found)} models, {names}: name one of them.")
    return settle(found[0]) if found else path


def _snapshot(cache: Path) -> Path:
    """The snapshot that refs/main of a repository's cache folder names, or the only one."""
    found = {p.name: p for p in sorted((cache / "snapshots").iterdir()) if p.is_dir()}
    main = cache / "refs" / "main"
    wanted = main.read_bytes()[:200].decode(errors="replace").strip() if main.is_file() else ""
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    if wanted not in found:
        raise InputError(
            f"{cache} does not say which of its {len(found)} snapshots is meant: name a folder in "
            f"{cache / 'snapshots'}."
        )
    return found[wanted]


WRAPPERS = ("module", "backbone", "model", "_orig_mod", "_fsdp_wrapped_module")
"""What wrapping a network puts before its tensors' names."""
INNER = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_fpw_module|_checkpoint_wrapped_module)\."
)
"""What torch.compile, FSDP and checkpointing put anywhere into a name: no network's own words."""


def unwrapped(tensors: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Tensors by the names that they have in the network itself, without those of wrappers.

    A prefix is taken off where all tensors have it, again and again.

    Raises:
        InputError: some tensors have a wrapper's prefix and others not, or two have one name then.
    """
    bare: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = INNER.sub("", name)
        if short in bare:
            raise InputError(f"{origin} holds the tensor {short} twice, as {name} too.")
        bare[short] = tensor
    while wrapped := [n for n in bare if n.partition(".")[0] in WRAPPERS and "." in n]:
        prefix = wrapped[0].partition(".")[0] + "."
        if other := next((name for name in bare if not name.startswith(prefix)), None):
            raise InputError(
                f"{origin}: {wrapped[0]} begins with {prefix!r} and {other} does not: save all "
                "tensors of a network under names of one kind."
            )
        bare = {name.removeprefix(prefix): tensor for name, tensor in bare.items()}
    return bare


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
    """The GPU when there is one, NVIDIA's or Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the machine computes in it, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32
