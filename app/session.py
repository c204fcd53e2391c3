"""What outlives a rerun: the visitor's state, and the answers that all visitors share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Bool

from app import answers
from app.answers import Answer, Question
from app.mask_bits import resized
from app.models import DEMO, Model, ModelSource
from app.rooms import ask, model_room
from app.sources import Clip, Source, Upload

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FIRST_VIEW = ASSETS / "first_view"
SEEDS = 4
STEPS = (1, 4, 8, 16, 32)
DEFAULT_STEPS = 4
VIEWS = ("diffusion", "neighbours")
"""What stands for predicted features in pixels."""
MAPS = ("features", "pixels")
"""Whose error is shown."""


@dataclass
class State:
    """One visitor's choices: the same model, clip and mask on every page.

    Attributes:
        source: the chosen clip.
        mask: what is hidden now (t, h, w).
        sent_mask: the mask that the browser was last told to show; from there on it paints itself.
        model: who predicts.
        opening: the model that is to take its place as soon as it is loaded.
        opened: addresses that this visitor typed, to go back to.
        link: the rest of a link that waits for its model.
        rev: counts the masks sent; a stroke that names an older one is out of date.
        seeds: one decoded sample each.
        steps: denoising steps.
        mask_token: of the predictor, where the visitor asked for another than the model's own.
        pixel_maps: whether spread and mistake are shown, pixel by pixel.
        neighbours: whether nearest neighbours are shown though there is a decoder.
        upload: the visitor's file.
        draws: how many random masks were asked for.
        last_good, good_upload: the last clip that could be read, and the file that was there then.
        notice: what was wrong with the last choice, in a sentence.
        painted: whether the browser has shown the page once.
        selection: the tokens that are lit up in every view.
        last_pick: id of the last click on a view, which selected them.
    """

    source: Source
    mask: Bool[np.ndarray, "t h w"]
    sent_mask: Bool[np.ndarray, "t h w"]
    model: Model = DEMO
    opening: ModelSource | None = None
    opened: list[ModelSource] = field(default_factory=list)
    link: Mapping[str, str] = field(default_factory=dict)
    rev: int = 0
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    steps: int = DEFAULT_STEPS
    mask_token: int | None = None
    neighbours: bool = False
    pixel_maps: bool = False
    upload: Upload | None = None
    draws: int = 0
    last_good: Source = field(default_factory=Source)
    good_upload: Upload | None = None
    notice: str = ""
    painted: bool = False
    selection: frozenset[int] = frozenset()
    last_pick: str = ""

    def choose(self, source: Source) -> None:
        """Another clip, and a clean slate."""
        self.source = source
        self.notice = ""

    def open(self, source: ModelSource) -> None:
        """Another model, as soon as it is loaded; until then the page stays as it is."""
        self.opening = None if source == self.model.source else source
        self.notice = ""

    def adopt(self, model: Model) -> None:
        """The model that was opened: the mask stays, on its grid."""
        model_room(self.model).leave()
        self.model, self.opening, self.mask_token = model, None, None
        if model.source not in self.opened:
            self.opened.append(model.source)
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

    def reroll(self) -> None:
        """Other noise, other samples."""
        self.seeds = tuple(seed + len(self.seeds) for seed in self.seeds)

    def question(self, clip: Clip) -> Question:
        """What "Mask and decode" asks about a clip."""
        return answers.ask(clip, self.mask, self.seeds, self.steps, self.asked_token)

    @property
    def asked_token(self) -> int:
        """The mask token that stands for what is hidden."""
        return self.model.mask_token if self.mask_token is None else self.mask_token


@st.cache_resource(show_spinner=False)
def first_view() -> Answer:
    """The answer that ships with the app, shown before any model is loaded."""
    return answers.load(FIRST_VIEW)


def start_state() -> State:
    """What a visitor who asks for nothing sees: the answer that ships with the app."""
    first = first_view()
    return State(
        Source(), first.mask, first.mask, seeds=first.question.seeds, steps=first.question.steps
    )


@st.cache_resource(show_spinner=False, max_entries=128)
def answer_for(question: Question, _clip: Clip) -> Answer:
    """The answer to a question; asked only once, and never if it shipped with the app."""
    if question == first_view().question:
        return first_view()
    return fresh_answer(question, _clip)


def fresh_answer(question: Question, clip: Clip) -> Answer:
    """What is behind a mask, decoded.

    Raises:
        InputError: a mask that cannot be predicted behind, or no model to ask.
    """
    mask = answers.asked_mask(question)
    settings = {"seeds": question.seeds, "steps": question.steps}
    return ask(
        clip,
        lambda explorer: answers.from_result(
            question, explorer.predict(mask, mask_type=question.mask_token, **settings), clip
        ),
    )


def at_hand(question: Question, model: Model) -> bool:
    """Whether the answer can be shown without waiting for the model to load."""
    return model_room(model).ready or question == first_view().question
