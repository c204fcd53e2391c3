"""The bank of clips that nearest neighbours are looked for in: one a model, made in the queue."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st

from app.workbench.memory import size_of, the_memory
from app.workbench.mishaps import told_in_a_sentence
from app.workbench.models import DEMO, Model
from app.workbench.queue import the_queue
from app.workbench.rooms import GONE, ModelRoom, mended, model_room
from vjepa.errors import InputError
from vjepa.formats import published

CPU_CLIPS = 16
"""Clips in the bank of a large model where no GPU encodes them: seconds each."""
MAKING = "making a bank"
"""The lane in which banks are made."""
_starting = Lock()


@dataclass(eq=False)
class Making:
    """A bank on its way.

    Attributes:
        model: whose.
        room: the room of the model.
        future: gives the bank.
        share: how much of it is there, 0..1.
        broken_off: whether it was given up, to be made anew when it is wanted again.
    """

    model: Model
    room: ModelRoom
    future: Future | None = None
    share: float = 0.0
    broken_off: bool = False

    def tell(self, done: int, total: int) -> None:
        """Takes note of the progress; stops where everybody has left, or the model had to."""
        self.share = done / total
        self.broken_off = self.room.left or self.room.loading is None
        if self.broken_off:
            raise InputError(GONE)

    def make(self) -> Any:
        """Makes the bank, and keeps it."""
        from decoder.bank import Bank

        with self.room.held():
            loaded = self.room.open().result().model
            slow = self.model != DEMO and loaded.device.type == "cpu"
            bank = Bank.from_videos(
                loaded,
                count=CPU_CLIPS if slow else None,
                folder=_folder(self.model),
                progress=self.tell,
            )
        the_memory().put(_key(self.model), self, size_of(bank))
        return bank


def of(model: Model) -> Future:
    """The bank of a model that is loaded; the first call starts to make it.

    Its result raises an InputError where no bank could be made.
    """
    return _making(model).future


def _making(model: Model) -> Making:
    with _starting:
        found = the_memory().find(_key(model))
        if found and not found.value.broken_off:
            return found.value
        making = Making(model, model_room(model))
        making.future = the_queue().submit(MAKING, _key(model), partial(mended, making.make))
        busy = partial(_is_on_its_way, making)
        the_memory().put(_key(model), making, 0, in_use=busy)
        return making


def _is_on_its_way(making: Making) -> bool:
    return not making.future.done()


def _key(model: Model) -> tuple[str, Model]:
    return "bank", model


def _folder(model: Model) -> Path | None:
    """Where its features are kept, so that each clip is encoded once; nowhere for the demo."""
    if model == DEMO:
        return None
    folder = published.models_folder() / "banks" / model.fingerprint
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no place to write to: made anew each time
        return None
    return folder


def await_ready(model: Model) -> None:
    """Shows how far the bank is, and runs the page again when it is there."""
    if not of(model).done():
        _await(model)


@st.fragment(run_every=1.0)
def _await(model: Model) -> None:
    with told_in_a_sentence():
        if of(model).done():
            st.rerun()
        share = _making(model).share
        st.progress(share, f"Encoding clips to find nearest neighbours in, once: {share:.0%}")
