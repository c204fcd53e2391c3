"""What the app showed, once more: from a recipe that names the clip, the mask and the noise."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from torch import Generator

from decoder.explorer import Explorer, Prediction
from vjepa.config import ModelConfig
from vjepa.data.clips import bundled_clips, read_frames
from vjepa.errors import InputError
from vjepa.world.world import World

DIGEST = 12
"""Hex digits of a file's SHA-256 that tell it from others."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """All that decoded pixels depend on.

    Attributes:
        kind: of the clip: "bundled", "world" (drawn) or "upload" (a visitor's file).
        name: the bundled file's stem, the drawn scene's number, or the file's digest.
        start, fps: where the clip begins, seconds, and its frames a second; None: the usual.
        model: as `Explorer.load` takes it.
        num_frames: of the clip, where other than the model's own.
        grid: tokens along time, height and width.
        hidden: indices of the hidden tokens.
        seeds, steps, mask_token: as `Explorer.predict` takes them.
    """

    kind: str
    name: str
    start: float = 0.0
    fps: float | None = None
    model: str = "demo"
    num_frames: int | None = None
    grid: tuple[int, ...]
    hidden: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    mask_token: int

    @classmethod
    def read(cls, path: Path) -> Replay:
        """What a recipe in a file says.

        Raises:
            InputError: there is no such file, or it holds no recipe.
        """
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
            lists = {name: tuple(map(int, told[name])) for name in ("grid", "hidden", "seeds")}
            return cls(**{**told, **lists})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} is no recipe of the app: export one there.") from error

    def text(self) -> str:
        """As a file holds it."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def mask(self) -> Bool[np.ndarray, "t h w"]:
        """True = hidden.

        Raises:
            InputError: a token that the grid does not have.
        """
        mask = np.zeros(self.grid, bool)
        if any(not 0 <= token < mask.size for token in self.hidden):
            raise InputError("The recipe hides tokens that its grid does not have: export it anew.")
        mask.flat[list(self.hidden)] = True
        return mask

    def frames(self, config: ModelConfig, video: Path | None) -> UInt8[np.ndarray, "T H W 3"]:
        """The clip's frames.

        Args:
            config: gives their size and number.
            video: the visitor's file, where the recipe is of one.

        Raises:
            InputError: the clip is not here, or the file is another one.
        """
        size = (config.image_size, config.num_frames)
        if self.kind == "world":
            generator = Generator().manual_seed(int(self.name))
            return (
                World(image_size=size[0], num_frames=size[1], split="test")
                .sample(1, generator)
                .frames[0]
                .numpy()
            )
        path = bundled_clips().get(self.name) if self.kind == "bundled" else video
        if path is None:
            raise InputError("The clip of this recipe is not here: name its file as well.")
        if self.kind == "upload" and digest(path) != self.name:
            raise InputError(f"{path} is not the file that was uploaded: name that one.")
        return read_frames(path, *size, start=self.start, fps=self.fps)

    def run(self, explorer: Explorer, video: Path | None = None) -> Prediction:
        """The pixels that the app showed.

        Raises:
            InputError: as for `frames`; the mask is for another grid than the model's.
        """
        explorer.set_clip(self.frames(explorer.config, video))
        return explorer.predict(
            self.mask, seeds=self.seeds, steps=self.steps, mask_type=self.mask_token
        )


def digest(path: Path) -> str:
    """What tells a file from others."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:DIGEST]
