"""Where a clip comes from, and its frames: bundled, drawn by the world, or uploaded."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8

from app.workbench import decoding
from app.workbench.catalogue import catalogue, first_clip
from app.workbench.memory import kept
from app.workbench.models import DEMO, Model
from app.workbench.queue import wait_for
from vjepa.data.clips import DEFAULT_FPS, bundled_clips, read_with_notes
from vjepa.errors import InputError

Kind = Literal["bundled", "world", "upload"]

WORLD_SEEDS, WORLD_LEVELS = 100_000, 5
HARDEST = WORLD_LEVELS - 1
"""The drawn world's last level, of which a clip's name needs not tell."""
UPLOAD_TYPES = tuple(
    (
        "mp4 webm mov avi mkv m4v mpg mpeg ts mts m2ts wmv flv 3gp ogv mxf gif png apng jpg jpeg "
        "webp avif tif tiff bmp"
    ).split()
)
LONGEST_NAME = 60
FPS = (0.5, 60.0)
"""The lowest and the highest rate that a visitor can choose."""
UPLOAD_LIMIT = 100
"""MB."""


@dataclass(frozen=True)
class ClipAddress:
    """A clip's address.

    Attributes:
        kind: bundled file, world drawing or upload.
        name: the file's stem, the world's level and seed, or the upload's digest.
        start: where the clip begins, seconds.
        fps: frames per second of the clip; None = the reader's default.
    """

    kind: Kind = "bundled"
    name: str = field(default_factory=first_clip)
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

    @property
    def short_name(self) -> str:
        """Its name for the screen; file systems allow 255 characters."""
        path = Path(self.name)
        return path.stem[: LONGEST_NAME - len(path.suffix[:8])] + path.suffix[:8]

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
        labels: the true class by task, where the world drew it.
        model: who looks at it; the frames have its size and number.
        bundled: name of the bundled file that it was cut from, if it was.
        notes: what its reader says of the file, in sentences.
    """

    id: str
    title: str
    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float = DEFAULT_FPS
    actor: Bool[np.ndarray, "t h w"] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    model: Model = DEMO
    bundled: str = ""
    notes: tuple[str, ...] = ()

    @property
    def repeats(self) -> int:
        """How many frames are the one before again: all but the first of a photo."""
        return int((self.frames[1:] == self.frames[:-1]).all(axis=(1, 2, 3)).sum())

    @property
    def note(self) -> str:
        """What a visitor should know about the clip, in sentences, or nothing."""
        return " ".join(filter(None, (*self.notes, self._standing)))

    @property
    def _standing(self) -> str:
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
    return _uploaded_clip(address, model, upload.short_name, upload)


@kept
def _bundled_clip(address: ClipAddress, model: Model) -> Clip:
    path = bundled_clips().get(address.name)
    if path is None:
        raise InputError("There is no such clip: pick one from the row.")
    entry = catalogue()[address.name]
    clip = _read(path, entry.title, address, model)
    whole = address == ClipAddress(name=address.name)  # of another part or pace it may not be true
    return replace(clip, labels=entry.labels) if whole else clip


def is_world(name: str) -> bool:
    """Whether a clip of the drawn world has this name."""
    level, dot, seed = name.rpartition(".")
    known = not dot or level in map(str, range(WORLD_LEVELS))
    short = seed.isascii() and seed.isdecimal() and len(seed) <= len(str(WORLD_SEEDS))
    return known and short and int(seed) < WORLD_SEEDS


def world_name(level: int, seed: int) -> str:
    """What a clip of the drawn world is called."""
    return str(seed) if level == HARDEST else f"{level}.{seed}"


def world_scene(name: str) -> tuple[int, int]:
    """Level and seed of a clip of the drawn world."""
    level, dot, seed = name.rpartition(".")
    return int(level) if dot else HARDEST, int(seed)


def find_world(level: int, thing: str | None, event: str | None) -> ClipAddress:
    """A clip of the drawn world in which such a thing acts so; None: any.

    What acts, and how, depends on the seed alone: seeds are drawn until one fits.

    Raises:
        InputError: none fits.
    """
    import torch

    from vjepa.world.world import CATEGORIES, MOTIONS, World

    world = World(level, split="test")
    for seed in random.sample(range(WORLD_SEEDS), WORLD_SEEDS):
        scene = world.draw(1, torch.Generator().manual_seed(seed))
        found = CATEGORIES[scene.appearance], MOTIONS[scene.motion]
        if thing in (None, found[0]) and event in (None, found[1]):
            return ClipAddress("world", world_name(level, seed))
    raise InputError("The drawn world has no such scene: choose another thing or event.")


@kept
def _world_clip(address: ClipAddress, model: Model) -> Clip:
    import torch

    from vjepa.world.world import CATEGORIES, MOTIONS, World

    if not is_world(address.name):
        raise InputError(f"World clips are numbered 0 to {WORLD_SEEDS - 1}: pick one of these.")
    config = model.config
    level, seed = world_scene(address.name)
    world = World(level, config.image_size, config.num_frames, split="test")
    batch = world.sample(1, torch.Generator().manual_seed(seed))
    frames, actor = (part[0].cpu().numpy() for part in (batch.frames, batch.actor))
    labels = {"appearance": CATEGORIES[batch.appearance], "motion": MOTIONS[batch.motion]}
    known = {"actor": actor, "labels": labels, "model": model}
    return Clip(clip_id(address, model), f"world {address.name}", frames, **known)


@kept
def _uploaded_clip(address: ClipAddress, model: Model, name: str, _upload: Upload) -> Clip:
    """Reads through a file that lives only as long as the reading: a reader wants a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix}"  # a visitor's disk allows longer names
        path.write_bytes(_upload.data)
        try:
            return _read(path, Path(name).stem, address, model)
        except InputError as error:
            raise InputError(str(error).replace(path.name, name)) from error


def _read(path: Path, name: str, address: ClipAddress, model: Model) -> Clip:
    config = model.config
    settings = config.image_size, config.num_frames, address.start, address.fps
    if address.kind == "upload":
        frames, notes = decoding.elsewhere(wait_for, read_with_notes, path, *settings)
    else:
        frames, notes = read_with_notes(path, *settings)
    return Clip(
        clip_id(address, model),
        name,
        frames,
        address.fps or DEFAULT_FPS,
        model=model,
        bundled=address.name if address.kind == "bundled" else "",
        notes=notes,
    )
