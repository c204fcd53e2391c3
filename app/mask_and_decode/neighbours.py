"""The bank of clips that nearest neighbours are looked for in: one a model, made in a thread."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.workbench.models import DEMO, Model
from app.workbench.rooms import mended, model_room
from vjepa.formats import published

CPU_CLIPS = 16
"""Clips in the bank of a large model where no GPU encodes them: seconds each."""


@dataclass
class Making:
    """A bank on its way.

    Attributes:
        future: gives the bank.
        share: how much of it is there, 0..1.
    """

    future: Future | None = None
    share: float = 0.0

    def tell(self, done: int, total: int) -> None:
        """Takes note of the progress."""
        self.share = done / total


def of(model: Model) -> Future:
    """The bank of a model that is loaded; the first call starts to make it.

    Its result raises an InputError where no bank could be made.
    """
    return _making(model).future


@st.cache_resource(show_spinner=False, max_entries=2)
def _making(model: Model) -> Making:
    making, thread = Making(), ThreadPoolExecutor(max_workers=1)
    making.future = thread.submit(mended, _make, model, making)
    thread.shutdown(wait=False)  # it ends with its work
    return making


def _make(model: Model, making: Making) -> Any:
    from decoder.bank import Bank

    with model_room(model).held() as room:
        loaded = room.open().result().model
        slow = model != DEMO and loaded.device.type == "cpu"
        return Bank.from_videos(
            loaded,
            count=CPU_CLIPS if slow else None,
            folder=_folder(model),
            progress=making.tell,
        )


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
    if of(model).done():
        st.rerun()
    share = _making(model).share
    st.progress(share, f"Encoding clips to find nearest neighbours in, once: {share:.0%}")
