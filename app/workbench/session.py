"""What outlives a rerun: the visitor's state."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from jaxtyping import Bool

from app.workbench.catalogue import default_mask
from app.workbench.clip import ClipAddress, Upload
from app.workbench.components import Panel
from app.workbench.figures import resized
from app.workbench.models import DEMO, Model, ModelAddress

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SEEDS = 4
STEPS = (1, 2, 4, 8, 16, 32)
DEFAULT_STEPS = 2
VIEWS = ("diffusion", "neighbours")
"""What stands for predicted features in pixels."""
MAPS = ("features", "pixels")
"""Whose error is shown."""
WORLDS, UPLOADS = 4, 2
"""How many drawn scenes and files a visitor can go back to; files take memory."""


@dataclass
class State:
    """One visitor's choices: the same model, clip and mask on every page.

    Attributes:
        address: the chosen clip.
        mask: what is hidden now (t, h, w).
        sent_mask: the mask that the browser was last told to show; from there on it paints itself.
        model: who predicts.
        opening: the model that is to take its place as soon as it is loaded.
        opened: addresses that this visitor typed, to go back to.
        link: the rest of a link that waits for its model.
        arrived: whether a page has shown a clip: what a visitor sees is his choice from there on.
        rev: counts the masks sent; a stroke that names an older one is out of date.
        seeds: one decoded sample each.
        steps: denoising steps.
        mask_token: of the predictor, where the visitor asked for another than the model's own.
        pixel_maps: whether spread and mistake are shown, pixel by pixel.
        neighbours: whether nearest neighbours are shown though there is a decoder.
        worlds: drawn scenes that were looked at, the newest last.
        upload: the visitor's file.
        brought: his files, the newest last.
        arrivals: how many files he brought.
        draws: how many random masks were asked for.
        last_good, good_upload: the last clip that could be read, and the file that was there then.
        notice: what was wrong with the last choice, in a sentence.
        painted: whether the browser has shown the page once.
        pinned: an answer, as panels, to compare others with.
        selection: the tokens that are lit up in every view.
        settings: of the pages, by name, as a link has them; those at their default are left out.
        last_picks: id of the last click on a patch in each component that was clicked in.
        last_thing: id of the last click on a thing, which hid it.
    """

    address: ClipAddress
    mask: Bool[np.ndarray, "t h w"]
    sent_mask: Bool[np.ndarray, "t h w"]
    model: Model = DEMO
    opening: ModelAddress | None = None
    opened: list[ModelAddress] = field(default_factory=list)
    link: Mapping[str, str] = field(default_factory=dict)
    arrived: bool = False
    rev: int = 0
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    steps: int = DEFAULT_STEPS
    mask_token: int | None = None
    neighbours: bool = False
    pixel_maps: bool = False
    worlds: list[ClipAddress] = field(default_factory=list)
    upload: Upload | None = None
    brought: list[Upload] = field(default_factory=list)
    arrivals: int = 0
    draws: int = 0
    last_good: ClipAddress = field(default_factory=ClipAddress)
    good_upload: Upload | None = None
    notice: str = ""
    painted: bool = False
    pinned: tuple[Panel, ...] = ()
    selection: frozenset[int] = frozenset()
    settings: dict[str, str] = field(default_factory=dict)
    last_picks: dict[str, str] = field(default_factory=dict)
    last_thing: str = ""

    def choose(self, address: ClipAddress) -> None:
        """Another clip, where nothing is selected; a mask that nobody painted is the clip's own."""
        untouched = np.array_equal(self.mask, self.first_mask)
        self.address, self.notice, self.selection = address, "", frozenset()
        if untouched and not np.array_equal(self.mask, self.first_mask):
            self.send_mask(self.first_mask)
        if address.kind == "world" and address not in self.worlds:
            self.worlds = [*self.worlds, address][-WORLDS:]

    @property
    def first_mask(self) -> Bool[np.ndarray, "t h w"]:
        """What is hidden of the clip before anyone paints."""
        return default_mask(self.address.name, self.model.config.grid)

    def bring(self, upload: Upload) -> None:
        """A file of the visitor's becomes the clip."""
        self.upload = upload
        self.arrivals += 1
        others = [one for one in self.brought if one.address != upload.address]
        self.brought = [*others, upload][-UPLOADS:]
        self.choose(upload.address)

    @property
    def linked_clip(self) -> str:
        """The clip, as a link has it."""
        return f"{self.address.kind}-{self.address.name}"

    def forget_settings(self) -> None:
        """All that a link leaves out is as for a fresh visitor."""
        self.seeds, self.steps, self.mask_token = tuple(range(SEEDS)), DEFAULT_STEPS, None
        self.neighbours = self.pixel_maps = False
        self.selection, self.settings = frozenset(), {}

    def open(self, address: ModelAddress) -> None:
        """Another model, as soon as it is loaded; until then the page stays as it is."""
        self.opening = None if address == self.model.address else address
        self.notice = ""

    def adopt(self, model: Model) -> None:
        """The model that was opened: the mask stays, on its grid."""
        self.model, self.opening, self.mask_token = model, None, None
        if model.address not in self.opened:
            self.opened.append(model.address)
        self.selection = frozenset()
        if self.mask.shape != model.config.grid:
            self.send_mask(resized(self.mask, model.config.grid))

    def send_mask(self, mask: Bool[np.ndarray, "t h w"]) -> None:
        """Replaces the mask in the browser."""
        self.mask = self.sent_mask = mask
        self.rev += 1

    def select(self, tokens: Iterable[int]) -> None:
        """Other tokens, on every page; those that the grid does not have are dropped."""
        self.selection = frozenset(token for token in tokens if 0 <= token < self.mask.size)

    @property
    def digests(self) -> list[str]:
        """Names of the files that this visitor brought, as addresses have them."""
        every = (self.upload, self.good_upload, *self.brought)
        return sorted({one.address.name for one in every if one})

    def forget_uploads(self) -> list[str]:
        """The visitor has left: his files are gone; their names."""
        digests, self.upload, self.good_upload, self.brought = self.digests, None, None, []
        return digests

    def reroll(self) -> None:
        """Other noise, other samples."""
        self.seeds = tuple(seed + len(self.seeds) for seed in self.seeds)

    @property
    def asked_token(self) -> int:
        """The mask token that stands for what is hidden."""
        return self.model.mask_token if self.mask_token is None else self.mask_token


def answer_of(widget: str, offered: Container | None = None) -> Any:
    """What a widget says to its callback; None where it has gone with its page meanwhile.

    Args:
        widget: its key.
        offered: what a menu has. Streamlit hands on whatever word a browser sends, and that of a
            page of yesterday may offer what is not there today; that is None too.
    """
    answer = st.session_state.get(widget)
    return answer if offered is None or answer in offered else None


def start_state() -> State:
    """What a visitor sees who asks for nothing."""
    address = ClipAddress()
    mask = default_mask(address.name, DEMO.config.grid)
    return State(address, mask, mask)
