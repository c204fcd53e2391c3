"""What outlives a rerun: the visitor's state, and the one model that all visitors share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from jaxtyping import Bool

from app import answers
from app.answers import Answer, Question
from app.sources import Clip, Source, Upload
from vjepa.config import ModelConfig, preset

MODEL = "demo"
ASSETS = Path(__file__).resolve().parents[1] / "assets"
FIRST_VIEW = ASSETS / "first_view"
SEEDS = 4
STEPS = (1, 4, 8, 16, 32)
DEFAULT_STEPS = 4

Result = TypeVar("Result")


@dataclass
class State:
    """One visitor's choices: the same clip and the same mask on every page.

    Attributes:
        source: the chosen clip.
        mask: what is hidden now (t, h, w).
        sent_mask: the mask that the browser was last told to show; from there on it paints itself.
        rev: counts the masks sent; a stroke that names an older one is out of date.
        seeds: one decoded sample each.
        steps: denoising steps.
        upload: the visitor's file.
        draws: how many random masks were asked for.
        last_good: the last clip that could be read.
        notice: what was wrong with the last choice, in a sentence.
        painted: whether the browser has shown the page once.
        selection: the tokens that are lit up in every view.
        last_pick: id of the last click on a view, which selected them.
    """

    source: Source
    mask: Bool[np.ndarray, "t h w"]
    sent_mask: Bool[np.ndarray, "t h w"]
    rev: int = 0
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    steps: int = DEFAULT_STEPS
    upload: Upload | None = None
    draws: int = 0
    last_good: Source = field(default_factory=Source)
    notice: str = ""
    painted: bool = False
    selection: frozenset[int] = frozenset()
    last_pick: str = ""

    def choose(self, source: Source) -> None:
        """Another clip, and a clean slate."""
        self.source = source
        self.notice = ""

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


def config() -> ModelConfig:
    """The demo model's shape; known before the model is loaded."""
    return preset(MODEL)


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


@dataclass
class ModelRoom:
    """The model behind one worker thread, so that visitors take turns and nobody waits to load it.

    torch is imported in that thread, after the first paint.
    """

    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    lock: Lock = field(default_factory=Lock)
    loading: Future | None = None
    clip_id: str = ""

    def open(self) -> Future:
        """Starts loading, once, or again where it failed; the future gives the Explorer."""
        with self.lock:
            if self.loading is None or (self.loading.done() and self.loading.exception()):
                self.loading = self.worker.submit(_load_explorer)
            return self.loading

    @property
    def ready(self) -> bool:
        """Whether an answer needs no waiting for the model."""
        return self.loading is not None and self.loading.done()

    def ask(self, clip: Clip, work: Callable[[Any], Result]) -> Result:
        """Does work with the Explorer, in turn.

        Args:
            clip: set before the work begins.
            work: is given the Explorer; what it returns should hold no tensor of the model's.

        Raises:
            InputError: the work's own, or there is no model to ask.
        """
        self.open()
        return self.worker.submit(self._work, clip, work).result()

    def _work(self, clip: Clip, work: Callable[[Any], Result]) -> Result:
        explorer = self.loading.result()
        if self.clip_id != clip.id:
            explorer.set_clip(clip.frames)
            self.clip_id = clip.id
        return work(explorer)

    def answer(self, question: Question, clip: Clip) -> Answer:
        """What is behind a mask.

        Raises:
            InputError: a mask that cannot be predicted behind, or no model to ask.
        """
        mask = answers.asked_mask(question)
        return self.ask(
            clip,
            lambda explorer: answers.from_result(
                question, explorer.predict(mask, seeds=question.seeds, steps=question.steps)
            ),
        )


@st.cache_resource(show_spinner=False)
def model_room() -> ModelRoom:
    """The one room of this server."""
    return ModelRoom()


def ask(clip: Clip, work: Callable[[Any], Result]) -> Result:
    """Does work with the one model, in turn: see `ModelRoom.ask`."""
    return model_room().ask(clip, work)


@st.cache_resource(show_spinner=False, max_entries=128)
def answer_for(question: Question, _clip: Clip) -> Answer:
    """The answer to a question; asked only once, and never if it shipped with the app."""
    if question == first_view().question:
        return first_view()
    return model_room().answer(question, _clip)


def at_hand(question: Question) -> bool:
    """Whether the answer can be shown without waiting for the model to load."""
    return model_room().ready or question == first_view().question


def _load_explorer() -> Any:
    from decoder import Explorer

    return Explorer.load(MODEL)
