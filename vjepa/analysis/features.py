"""Features of labelled clips, computed once and kept on disk.

Encoding takes longer than any probe. Every model's tokens of every set of clips lie in one file of
records, which only grows: what is in it is done, and an interrupted run goes on behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from vjepa.analysis.labelled import LabelledClips
from vjepa.data.clips import normalize
from vjepa.model import normalize_features


@runtime_checkable
class FrozenModel(Protocol):
    """Anything that turns clips into tokens."""

    def encode(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N D"]: ...

    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Tokens:
    """Layer-normed tokens of labelled clips, and their labels.

    Attributes:
        records: memory-mapped; fields `tokens` float16 (V, N, D), where N counts the tokens of all
            clips of a view, `pooled` float32 (V, 3 D), and one field a label.
        rows: which of the records.
    """

    records: Shaped[np.ndarray, " records"]
    rows: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """D."""
        return self.records.dtype["tokens"].shape[-1]

    @property
    def pooled(self) -> Float[np.ndarray, "n V F"]:
        """What `pool` makes of the tokens of each view."""
        return self.records["pooled"][self.rows]

    def label(self, name: str) -> Shaped[np.ndarray, "n ..."]:
        """The labels of one task."""
        return self.records[name][self.rows]

    def subset(self, rows: Int64[np.ndarray, " k"]) -> Tokens:
        """Some of the clips."""
        return replace(self, rows=self.rows[rows])

    def read(self, rows: Int64[np.ndarray, " b"]) -> Float[Tensor, "b V N D"]:
        """The tokens of some clips, from disk."""
        return torch.from_numpy(self.records["tokens"][self.rows[rows]]).float()


def pool(features: Float[Tensor, "B N D"]) -> Float[Tensor, "B 3*D"]:
    """Mean, standard deviation and maximum over the tokens.

    The mean alone is that of the background: an object covers few tokens.
    """
    features = features.float()
    return torch.cat([features.mean(1), features.std(1), features.amax(1)], dim=1)


def encode(
    models: Mapping[str, FrozenModel], clips: LabelledClips, cache: Path
) -> dict[str, Tokens]:
    """Tokens of labelled clips by every model; each clip is drawn or decoded once for all models.

    Args:
        models: by name.
        clips: which.
        cache: folder of the files; nothing that is in them is computed again.

    Raises:
        InputError: the clips cannot be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    files = {name: TokenFile(cache, model, clips) for name, model in models.items()}
    start = min(file.next_index for file in files.values())
    if start < len(clips):
        for frames, labels in clips.stream(start):
            for file in files.values():
                file.append(frames, labels)
    return {name: file.read() for name, file in files.items()}


class TokenFile:
    """The records of one model and one set of clips; whole records, in the order of the clips.

    Args:
        cache: folder of the file.
        model: computes the tokens.
        clips: whose.

    Attributes:
        next_index: of the first clip that is not in the file.
    """

    def __init__(self, cache: Path, model: FrozenModel, clips: LabelledClips) -> None:
        self.model, self.clips = model, clips
        self.path = cache / f"{_digest(model, clips)}.tokens"
        self.layout = _layout(model, clips)
        self.path.touch()
        with self.path.open("r+b") as file:  # what an interrupted run wrote of a record goes
            file.truncate(self._count() * self.layout.itemsize)
        self.next_index = int(self._records()["index"][-1]) + 1 if self._count() else 0

    def append(self, frames: Shaped[np.ndarray, "b ..."], labels: Shaped[np.ndarray, " b"]) -> None:
        """Encodes clips and writes them down; those that are in the file are passed over."""
        new = labels["index"] >= self.next_index
        if not new.any():
            return
        records = np.empty(new.sum(), self.layout)
        for name in labels.dtype.names:
            records[name] = labels[name][new]
        records["tokens"], records["pooled"] = self._encode(frames[new])
        with self.path.open("ab") as file:
            file.write(records.tobytes())
        self.next_index = int(records["index"][-1]) + 1

    def read(self) -> Tokens:
        """The clips that were asked for; the file may hold more of the same."""
        return Tokens(self._records(), np.arange(min(self._count(), len(self.clips))))

    @torch.no_grad()
    def _encode(self, frames: Shaped[np.ndarray, "b V C ..."]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (b, V, C N, D) and what is pooled of them (b, V, 3 D)."""
        views, clips = frames.shape[1:3]
        flat = normalize(rearrange(frames, "b v c t h w rgb -> (b v c) t h w rgb"))
        tokens = normalize_features(self.model.encode(flat).float())
        tokens = rearrange(tokens, "(b v c) n d -> (b v) (c n) d", v=views, c=clips)
        parts = (tokens.half(), pool(tokens))
        return tuple(part.unflatten(0, (-1, views)).cpu().numpy() for part in parts)

    def _count(self) -> int:
        return self.path.stat().st_size // self.layout.itemsize

    def _records(self) -> np.ndarray:
        return np.memmap(self.path, self.layout, mode="r")


def _layout(model: FrozenModel, clips: LabelledClips) -> np.dtype:
    """What a record holds; the model is asked how many tokens it makes of a clip."""
    size = clips.config.image_size
    count, dim = model.encode(torch.zeros(1, 3, clips.config.num_frames, size, size)).shape[1:]
    tokens = ("tokens", "f2", (clips.views, clips.clips * count, dim))
    return np.dtype([*clips.labels.descr, ("pooled", "f4", (clips.views, 3 * dim)), tokens])


def _digest(model: FrozenModel, clips: LabelledClips) -> str:
    """Changes with any weight, its precision, any clip, label or preprocessing."""
    digest = hashlib.sha256(clips.digest.encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]
