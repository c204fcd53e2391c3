"""Pixels for predicted features without training: the nearest tubelets of other clips.

A bank holds clips (windows of videos that people bring, or the bundled and drawn ones) and, on
disk, their features: one file a clip, so that a large one need not fit in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float16, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor

from decoder.canvas import paste
from vjepa.checkpoint import Fingerprint, default_dtype
from vjepa.config import ModelConfig
from vjepa.data.clips import bundled_clips, find_videos, normalize
from vjepa.data.datasets import LabelledVideos
from vjepa.data.views import readable
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import to_mask
from vjepa.world.world import LEVELS, World

NamedClips = tuple[UInt8[Tensor, "n T H W 3"], tuple[str, ...]]
"""Clips, RGB 0..255, and the name of the video that each was cut from."""

CLIPS, TOKENS, FEWEST = 64, 100_352, 8
"""A bank has 64 clips (those of ViT-L have so many tokens), but no more tokens and 8 clips."""


def bank_clips(
    config: ModelConfig, videos: Path | None = None, count: int | None = None
) -> NamedClips:
    """The clips of a bank.

    Without a folder of videos, half of them are windows of the bundled clips and half are drawn:
    colours and edges that few photographs hold. On the demo model, 32 drawn ones beside 32 windows
    raise the PSNR of what true features retrieve by 1.1 dB on real clips, 2 dB on drawn ones.

    Args:
        config: gives the clips' size.
        videos: a folder of videos; those that cannot be read are left out with a warning.
        count: number of clips; 64 when None, fewer where clips have many tokens. There are fewer
            too when they do not divide among the videos.

    Raises:
        InputError: fewer than one clip; no video is there, or none can be read.
    """
    count = max(FEWEST, min(CLIPS, TOKENS // config.num_tokens)) if count is None else count
    if count < 1:
        raise InputError(f"A bank of {count} clips holds nothing: ask for at least one.")
    if videos is not None:
        return windows(find_videos(Path(videos)), config, count)
    clips, names = windows(list(bundled_clips().values()), config, max(1, count // 2))
    if len(clips) == count:
        return clips, names
    drawn = drawn_clips(config, count - len(clips))
    return torch.cat([clips, drawn]), names + tuple(f"drawn {i}" for i in range(len(drawn)))


def windows(paths: Sequence[Path], config: ModelConfig, count: int) -> NamedClips:
    """At most `count` clips, evenly from videos and evenly from each, named by the files' stems."""
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]
    labels = np.full(len(chosen), -1)
    videos = LabelledVideos(tuple(chosen), labels, (), chosen[0].parent)
    parts, names = [], []
    for index, views in readable(videos, config, clips=count // len(chosen), views=1):
        parts.append(torch.from_numpy(views[:, 0]))
        names += [chosen[index].stem] * len(views)
    return torch.cat(parts), tuple(names)


def drawn_clips(config: ModelConfig, count: int) -> UInt8[Tensor, "n T H W 3"]:
    """The world's first clips of the highest difficulty, the same ones every time."""
    hardest = len(LEVELS) - 1
    world = World(hardest, config.image_size, config.num_frames, split="train")
    return world.sample(count, Generator().manual_seed(0)).frames


class FeatureFiles:
    """The features of one model, each clip's in a file that is called by what the clip shows.

    Pixels are not kept: whoever asks for a clip's features has them. Clips may be added, left out
    or asked for in another order; only those that are new are encoded.

    Args:
        folder: of the files; made when it is missing.
        model: its mark (`Fingerprint.mark`) is written into every file.
    """

    def __init__(self, folder: Path, model: VJEPA) -> None:
        self.folder, self.owner = Path(folder), Fingerprint(model)
        self.shape = (model.config.num_tokens, model.config.output_dim)
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, clip: UInt8[Tensor, "T H W 3"]) -> Float16[Tensor, "N O"] | None:
        """The clip's features, or None when they are not there.

        Raises:
            InputError: they are another model's, or the file is damaged.
        """
        path = self._path(clip)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                owner, features = file.metadata().get("fingerprint"), file.get_tensor("features")
        except (SafetensorError, OSError, AttributeError) as error:
            raise InputError(f"{path} is damaged: delete it to have it made again.") from error
        if not self.owner.matches(str(owner)) or tuple(features.shape) != self.shape:
            theirs = str(owner).partition("-")[0]
            raise InputError(
                f"The bank in {self.folder} is another model's ({theirs}, not {self.owner}): "
                "choose another folder."
            )
        return features

    def write(self, clip: UInt8[Tensor, "T H W 3"], features: Float16[Tensor, "N O"]) -> None:
        """Keeps a clip's features; an interrupted write leaves no file."""
        path = self._path(clip)
        partial = path.with_suffix(".partial")
        tensors = {"features": features.contiguous().cpu()}
        save_file(tensors, partial, {"fingerprint": self.owner.mark})
        partial.rename(path)

    def _path(self, clip: Tensor) -> Path:
        digest = hashlib.sha256(str(tuple(clip.shape)).encode())
        digest.update(clip.cpu().contiguous().numpy())
        return self.folder / f"{digest.hexdigest()[:24]}.safetensors"


Clips = UInt8[Tensor, "n T H W 3"]
Progress = Callable[[int, int], None]
"""Told how many clips of how many are encoded."""

SHORTLIST = 8
"""Candidates that the search in low precision hands on to the exact one."""
QUERIES, ROWS = 1024, 8192  # compared at a time: whatever a mask hides, memory stays bounded


@dataclass(frozen=True)
class Collage:
    """Predicted tokens as tubelets of other clips.

    Attributes:
        frames: the clip, its hidden tubelets replaced by those that were found, RGB 0..255.
        distance: mean absolute difference of a token's prediction and the feature that was found
            for it, NaN where visible. It has the unit of the prediction error: where it is large,
            the bank holds nothing like what was predicted.
        sources: the clip, by index into the bank's names, that each hidden token was found in.
    """

    frames: UInt8[np.ndarray, "T H W 3"]
    distance: Float[np.ndarray, "t h w"]
    sources: Int64[Tensor, " M"]


@dataclass(frozen=True)
class Bank:
    """Clips to retrieve from: what a model makes of each token, and the pixels it stands for.

    Attributes:
        config: shape of the model.
        features: the clips' target features, on the model's device.
        tubelets: their pixels, in the order of `vjepa.tokens.patchify`.
        names: of the video that each clip was cut from.
    """

    config: ModelConfig
    features: Float16[Tensor, "n N O"]
    tubelets: UInt8[Tensor, "n N P"]
    names: tuple[str, ...]

    @classmethod
    def build(
        cls,
        model: VJEPA,
        clips: Clips,
        *,
        names: Sequence[str] = (),
        files: FeatureFiles | None = None,
        progress: Progress | None = None,
    ) -> Bank:
        """Encodes every clip once.

        Args:
            model: whose predictions will be looked up.
            clips: frames of the model's own size, RGB 0..255.
            names: of the clips' videos, for `collage` to leave out; the clips' numbers if none.
            files: where features are kept, and taken from when they are there.
            progress: called after each clip.

        Raises:
            InputError: no clips, clips of another size, or not one name a clip; files of another
                model.
        """
        names = tuple(names) or tuple(map(str, range(len(clips))))
        _check(clips, names, model.config)
        encoded = []
        for clip in clips:
            found = files.read(clip) if files else None
            encoded.append(_encode(model, clip) if found is None else found)
            if files and found is None:
                files.write(clip, encoded[-1])
            if progress:
                progress(len(encoded), len(clips))
        features = torch.stack(encoded).to(model.device)
        return cls(model.config, features, _tubelets(clips, model.config), names)

    @classmethod
    def open(
        cls,
        model: VJEPA,
        clips: Clips,
        folder: Path,
        *,
        names: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Bank:
        """`build`, with features kept in a folder: what an interrupted call encoded is there.

        Raises:
            InputError: as for `build`; the folder belongs to another model.
        """
        files = FeatureFiles(folder, model)
        return cls.build(model, clips, names=names, files=files, progress=progress)

    @classmethod
    def from_videos(
        cls,
        model: VJEPA,
        videos: Path | None = None,
        *,
        count: int | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> Bank:
        """A bank of windows of videos.

        Args:
            model: as for `build`.
            videos: a folder of them; None takes the bundled clips and as many drawn ones.
            count: number of clips; see `decoder.bank`.
            folder: where features are kept; None keeps none.
            progress: as for `build`.

        Raises:
            InputError: as for `open`; the folder of videos holds none that can be read.
        """
        clips, names = bank_clips(model.config, videos, count)
        files = FeatureFiles(folder, model) if folder else None
        return cls.build(model, clips, names=names, files=files, progress=progress)

    @torch.no_grad()
    def collage(
        self,
        frames: UInt8[np.ndarray, "T H W 3"] | UInt8[Tensor, "T H W 3"],
        predictions: Float[Tensor, "M O"],
        target_idx: Int64[Tensor, " M"],
        *,
        leave_out: str | None = None,
    ) -> Collage:
        """Shows features as pixels: predictions, or true target features for the ceiling.

        Args:
            frames: the clip that is predicted in; its visible pixels stay.
            predictions: features of the hidden tokens, in the space of the targets.
            target_idx: which tokens they are.
            leave_out: name of the video on screen. Were its own clips searched, a true feature
                would find itself, and a prediction the very future that it is to be compared with.

        Raises:
            InputError: features of another width; nothing is left to search.
        """
        rows = self.nearest(predictions, leave_out=leave_out)
        difference = self.features.flatten(0, 1)[rows] - predictions.to(self.features.device)
        order, rows = target_idx.argsort().cpu(), rows.cpu()
        mask = to_mask(target_idx, self.config.grid).cpu()
        tubelets = self.tubelets.flatten(0, 1)[rows[order]].float() / 127.5 - 1
        pasted = paste(torch.as_tensor(frames), tubelets.unsqueeze(0), mask, self.config)[0]
        distance = torch.full(mask.shape, torch.nan)
        distance[mask] = difference.abs().mean(-1).float().cpu()[order]
        return Collage(pasted.numpy(), distance.numpy(), rows // self.config.num_tokens)

    def nearest(
        self, queries: Float[Tensor, "M O"], *, leave_out: str | None = None
    ) -> Int64[Tensor, " M"]:
        """The nearest token of the bank to each query, as clip * N + token.

        Nearest by Euclidean distance, at any place of any clip; where features are layer-normed,
        all of one length, that is also the token of the largest cosine. (L1, the model's objective,
        finds tubelets 0.05 dB worse in many times the time.) Products in low precision make a
        shortlist, float32 decides.

        Raises:
            InputError: features of another width; nothing is left to search.
        """
        width = self.features.shape[-1]
        if queries.shape[-1] != width:
            raise InputError(
                f"The bank holds features of width {width}, not {queries.shape[-1]}: "
                "build one with the model that predicts."
            )
        banned = torch.tensor([name == leave_out for name in self.names])
        if banned.all():
            raise InputError(f"The bank holds clips of {leave_out} alone: add other videos to it.")
        queries = queries.to(self.features.device, torch.float32)
        banned = banned.to(self.features.device)
        return torch.cat([self._nearest(part, banned) for part in queries.split(QUERIES)])

    @cached_property
    def _half_squares(self) -> Float[Tensor, "n N"]:
        return torch.stack([clip.float().square().sum(-1) / 2 for clip in self.features])

    def _nearest(self, queries: Float[Tensor, "M O"], banned: Tensor) -> Int64[Tensor, " M"]:
        near, rows = zip(*self._shortlists(queries, banned), strict=True)
        best = torch.cat(near, 1).topk(near[0].shape[1]).indices
        rows = torch.cat(rows, 1).gather(1, best)  # (M, S)
        candidates = self.features.flatten(0, 1)[rows].float()
        distance = (candidates - queries.unsqueeze(1)).square().sum(-1)
        return rows.gather(1, distance.argmin(1, keepdim=True)).squeeze(1)

    def _shortlists(self, queries: Tensor, banned: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """A few clips at a time, the tokens that seem nearest to each query, and how near.

        Of |q - b|^2 = |q|^2 - 2 (q b - |b|^2 / 2) only the bracket tells the tokens b apart.
        """
        dtype, tokens = default_dtype(self.features.device), self.features.shape[1]
        queries, start, clips = queries.to(dtype), 0, max(1, ROWS // tokens)
        parts = (self.features, self._half_squares.to(dtype), banned)
        for some, squares, out in zip(*(part.split(clips) for part in parts), strict=True):
            rows = some.flatten(0, 1).to(dtype)
            near = torch.addmm(squares.flatten(), queries, rows.T, beta=-1)  # (M, R)
            near.unflatten(1, (-1, tokens))[:, out] = -torch.inf
            found = near.topk(min(SHORTLIST, tokens))
            yield found.values, found.indices + start
            start += len(some) * tokens


@torch.no_grad()
def _encode(model: VJEPA, clip: UInt8[Tensor, "T H W 3"]) -> Float16[Tensor, "N O"]:
    return model.target_features(normalize(clip).unsqueeze(0))[0].half()


def _tubelets(clips: Clips, config: ModelConfig) -> UInt8[Tensor, "n N P"]:
    """`patchify` for pixels that stay uint8."""
    f, p = config.tubelet_size, config.patch_size
    return rearrange(clips, "n (t f) (h p) (w q) c -> n (t h w) (c f p q)", f=f, p=p, q=p)


def _check(clips: Clips, names: tuple[str, ...], config: ModelConfig) -> None:
    expected = (config.num_frames, config.image_size, config.image_size, 3)
    if not len(clips) or tuple(clips.shape[1:]) != expected:
        raise InputError(
            f"A bank wants clips of shape (n, {', '.join(map(str, expected))}) and got "
            f"{tuple(clips.shape)}: read them with vjepa.read_frames."
        )
    if len(names) != len(clips):
        raise InputError(f"{len(clips)} clips need as many names, not {len(names)}.")
