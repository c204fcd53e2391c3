"""Which models a visitor can choose, and what the pages know of a model that was opened.

The bundled one, those that were downloaded, the server's own (`streamlit run app/main.py -- --model
PATH`, or the environment's VJEPA_APP_MODEL), and any path of the server's disk that a visitor types
who sits at this machine. A server for strangers (`python -m app.serve`) opens no paths, and links
open none there either.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from vjepa.config import MASK_TYPES, ModelConfig, preset
from vjepa.errors import InputError
from vjepa.formats import published

BUNDLED = "physics"
FRAMES = (0, 8, 16, 32, 64)
"""How many frames a visitor may open a model with; 0: as published."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Addresses at which a server listens to its own machine alone."""
PARTS = ("model", "encoder")
"""Names of folders that say nothing: the one around them is named too."""


@dataclass(frozen=True)
class ModelAddress:
    """A model's address.

    Attributes:
        name: as `vjepa.load` takes it: "physics", a published name, or a path.
        num_frames: frames in its clips, where others than the published number are wanted.
    """

    name: str = BUNDLED
    num_frames: int | None = None

    @property
    def title(self) -> str:
        """Short, for the screen."""
        path = Path(self.name)
        shown = path.parent.name + "/" + path.name if path.name in PARTS else path.name
        return shown + (f", {self.num_frames} frames" if self.num_frames else "")

    @property
    def bytes(self) -> int:
        """How much there is to read; 0 where that is not known."""
        path = published.find(self.name) or Path(self.name)
        try:
            files = [path] if path.is_file() else path.glob("*.safetensors")
            return sum(file.stat().st_size for file in files)
        except (OSError, ValueError):
            return 0

    @property
    def size(self) -> str:
        """The same in words, "1.2 GB" say; nothing for a small one."""
        return f"{self.bytes / 1e9:.1f} GB" if self.bytes > 5e7 else ""


@dataclass(frozen=True)
class Model:
    """What the pages know of a model; it holds no weights.

    Attributes:
        address: its address.
        config: its shape.
        fingerprint: tells models apart by their weights; empty for the bundled one.
        untrained: mask tokens that look untrained.
        train_command: trains the decoder that it lacks; empty where it has one.
    """

    address: ModelAddress
    config: ModelConfig
    fingerprint: str = ""
    untrained: tuple[int, ...] = ()
    train_command: str = ""

    @classmethod
    def of(cls, address: ModelAddress, explorer: Any) -> Model:
        """What is to know of the model in an Explorer."""
        from vjepa.checkpoint import fingerprint

        model = explorer.model
        return cls(
            address,
            model.config,
            fingerprint(model),
            model.predictor.untrained_tokens(),
            "" if explorer.pipeline else explorer.train_command,
        )

    @property
    def id(self) -> str:
        """One word that tells answers of models, and their clips, apart."""
        return f"{self.fingerprint}-{self.config.num_frames}" if self.fingerprint else ""

    @property
    def decodes(self) -> bool:
        """Whether there is a decoder for it."""
        return not self.train_command

    @property
    def predicts(self) -> bool:
        """Whether it has a predictor: some files hold an encoder alone."""
        return self.config.predictor_depth > 0

    @property
    def mask_token(self) -> int:
        """The mask token that stands for what is hidden, where nobody asks for another."""
        return self.config.mask_token if self.config.mask_token >= 0 else LONG

    def token_title(self, token: int) -> str:
        """What a mask token is called."""
        names = {number: name for name, number in MASK_TYPES.items()}
        own = self.config.mask_token < 0  # V-JEPA: one for each kind of mask
        title = names.get(token, str(token)) if own else str(token)
        return title + (" (looks untrained)" if token in self.untrained else "")


LONG = MASK_TYPES["long"]
"""The mask token of long-range masks, which the pages ask with."""
DEMO = Model(ModelAddress(), preset(BUNDLED))
"""Known before it is loaded."""


def default() -> ModelAddress:
    """The model that a visitor sees who asks for none: the server's, else the bundled one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", default=os.environ.get("VJEPA_APP_MODEL") or BUNDLED)
    return ModelAddress(own_name(parser.parse_known_args()[0].model))


def own_name(name: str) -> str:
    """The bundled model has several names and one place in memory; other names stay."""
    return BUNDLED if name in published.BUNDLED else name


def paths_allowed() -> bool:
    """Whether visitors may open a path of this machine's disk.

    Those who sit at it may: where the server listens to nobody else, or VJEPA_APP_PATHS says so.
    """
    said = os.environ.get("VJEPA_APP_PATHS", "")
    return said != "0" if said else st.get_option("server.address") in LOOPBACK


def downloaded() -> list[str]:
    """The published models that are on this machine."""
    names = (entry.name for entry in published.PUBLISHED.values() if entry.kind != "probe")
    return [name for name in names if published.find(name)]


def check(address: ModelAddress) -> None:
    """Makes sure that visitors may open this model.

    Raises:
        InputError: it is a path, and this server opens none; or the menu does not offer so many
            frames.
    """
    if (address.num_frames or 0) not in FRAMES:
        raise InputError(f"A clip can have {_words(FRAMES[1:])} frames: choose one of these.")
    known = address.name in (BUNDLED, default().name) or address.name in published.PUBLISHED
    if not known and not paths_allowed():
        raise InputError("This server opens no paths: choose a model from the list.")


def _words(numbers: tuple[int, ...]) -> str:
    """8, 16 or 32."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}"
