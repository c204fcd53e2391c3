"""Where a clip comes from, and its frames: bundled, drawn by the world, or uploaded."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8

from app.workbench import decoding
from app.workbench.memory import kept
from app.workbench.models import DEMO, Model
from app.workbench.visits import wait_for
from vjepa.data.clips import DEFAULT_FPS, bundled_clips, read_frames
from vjepa.errors import InputError

Kind = Literal["bundled", "world", "upload"]

DEFAULT_CLIP = "cup_tilt_zoom"
WORLD_SEEDS = 100_000
FPS = (0.5, 60.0)
"""The lowest and the highest rate that a visitor can choose."""
UPLOAD_TYPES = ("mp4", "webm", "avi", "mov", "gif", "png", "jpg", "jpeg")
UPLOAD_LIMIT = 100
"""MB."""


@dataclass(frozen=True)
class ClipAddress:
    """A clip's address.

    Attributes:
        kind: bundled file, world drawing or upload.
        name: the file's stem, the world's seed, or the upload's digest.
        start: where the clip begins, seconds.
        fps: frames per second of the clip; None = the reader's default.
    """

    kind: Kind = "bundled"
    name: str = DEFAULT_CLIP
    start: float = 0.0
    fps: float | None = None

    @property
    def id(self) -> str:
        """One word for one choice of frames; it names the clip in caches and messages."""
        timing = f"@{exact(self.start)}" + (f"@{exact(self.fps)}" if self.fps else "")
        return f"{self.kind}-{self.name}" + ("" if timing == "@0" else timing)

    def at(self, start: float, fps: float | None) -> ClipAddress:
        """The same file, read from another time or at another rate."""
        return replace(self, start=start, fps=fps)


def exact(number: float) -> str:
    """A number in as few digits as bring it back, and no fewer."""
    return repr(float(number)).removesuffix(".0")


@dataclass(frozen=True)
class Upload:
    """A file that a visitor brought."""

    name: str
    data: bytes

    @cached_property
    def address(self) -> ClipAddress:
        """Its address: the same bytes have the same one."""
        return ClipAddress("upload", hashlib.sha256(self.data).hexdigest()[:12])


@dataclass(frozen=True)
class Clip:
    """Frames and what to call them.

    Attributes:
        id: the address's and the model's.
        title: for the screen.
        frames: uint8 RGB (T, H, W, 3).
        fps: at which rate to play them.
        actor: the pixels of the thing that acts, where the world drew it and so knows them.
        model: who looks at it; the frames have its size and number.
        bundled: name of the bundled file that it was cut from, if it was.
    """

    id: str
    title: str
    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float = DEFAULT_FPS
    actor: Bool[np.ndarray, "t h w"] | None = None
    model: Model = DEMO
    bundled: str = ""

    @property
    def repeats(self) -> int:
        """How many frames are the one before again: all but the first of a photo."""
        return int((self.frames[1:] == self.frames[:-1]).all(axis=(1, 2, 3)).sum())

    @property
    def note(self) -> str:
        """What a visitor should know about the clip, in a sentence, or nothing."""
        if self.repeats == len(self.frames) - 1:
            return "This clip does not move: one picture is repeated."
        if self.repeats:
            return (
                f"{self.repeats} of the {len(self.frames)} frames repeat the one before: the video "
                "is shorter than the model's clips, or stands still for a while."
            )
        return ""


def clip_id(address: ClipAddress, model: Model) -> str:
    """One word for a clip as one model sees it."""
    return f"{address.id}~{model.id}" if model.id else address.id


def load_clip(address: ClipAddress, model: Model, upload: Upload | None = None) -> Clip:
    """The frames behind an address.

    Args:
        address: what to load.
        model: gives the size and number of the frames.
        upload: the visitor's file, when `address` names one.

    Raises:
        InputError: there is no such clip, or its file cannot be read.
    """
    if address.kind == "world":
        return _world_clip(address, model)
    if address.kind == "bundled":
        return _bundled_clip(address, model)
    if upload is None or upload.address.name != address.name:
        raise InputError("This clip was uploaded in another session: upload the file again.")
    return _uploaded_clip(address, model, upload.name, upload)


@kept
def _bundled_clip(address: ClipAddress, model: Model) -> Clip:
    path = bundled_clips().get(address.name)
    if path is None:
        raise InputError("There is no such clip: pick one from the row.")
    return _read(path, title(address.name), address, model)


def is_world(name: str) -> bool:
    """Whether a clip of the drawn world has this number."""
    short = name.isascii() and name.isdecimal() and len(name) <= len(str(WORLD_SEEDS))
    return short and int(name) < WORLD_SEEDS


@kept
def _world_clip(address: ClipAddress, model: Model) -> Clip:
    import torch

    from vjepa.world.world import World

    if not is_world(address.name):
        raise InputError(f"World clips are numbered 0 to {WORLD_SEEDS - 1}: pick one of these.")
    config = model.config
    world = World(image_size=config.image_size, num_frames=config.num_frames, split="test")
    batch = world.sample(1, torch.Generator().manual_seed(int(address.name)))
    frames, actor = (part[0].cpu().numpy() for part in (batch.frames, batch.actor))
    name = f"world {address.name}"
    return Clip(clip_id(address, model), name, frames, actor=actor, model=model)


@kept
def _uploaded_clip(address: ClipAddress, model: Model, name: str, _upload: Upload) -> Clip:
    """Reads through a file that lives only as long as the reading: decord wants a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (Path(_upload.name).name or "upload")
        path.write_bytes(_upload.data)
        return _read(path, Path(_upload.name).stem, address, model)


def _read(path: Path, name: str, address: ClipAddress, model: Model) -> Clip:
    config = model.config
    settings = config.image_size, config.num_frames, address.start, address.fps
    if address.kind == "upload":
        frames = decoding.elsewhere(wait_for, read_frames, path, *settings)
    else:
        frames = read_frames(path, *settings)
    return Clip(
        clip_id(address, model),
        name,
        frames,
        address.fps or DEFAULT_FPS,
        model=model,
        bundled=address.name if address.kind == "bundled" else "",
    )


def title(name: str) -> str:
    """A bundled clip's name for the screen."""
    return name.replace("_", " ")
