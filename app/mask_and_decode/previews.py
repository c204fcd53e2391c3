"""What is seen of predictions without decoding them: nearest neighbours, PCA, errors."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from jaxtyping import Float, UInt8

from app.mask_and_decode import answers
from app.mask_and_decode.answers import Answer, Question
from app.workbench.clip import Clip
from app.workbench.memory import kept, size_of, the_memory
from app.workbench.mishaps import told_in_a_sentence
from app.workbench.models import DEMO, Model
from app.workbench.queue import the_queue
from app.workbench.rooms import GONE, ModelRoom, ask, mended, model_room
from vjepa.errors import InputError
from vjepa.formats import published

if TYPE_CHECKING:
    from vjepa.analysis.projections import Components


@dataclass(frozen=True, kw_only=True)
class Preview(Answer):
    """A prediction that is not decoded.

    Attributes:
        predictions: predicted features of the hidden tokens.
        predicted: the predictions' first three components as RGB, black where visible.
        true: those of the true features of the same tokens.
    """

    predictions: Float[np.ndarray, "M O"]
    predicted: UInt8[np.ndarray, "t h w 3"]
    true: UInt8[np.ndarray, "t h w 3"]


@dataclass(frozen=True)
class Nearest:
    """The hidden region as a collage of other clips.

    Attributes:
        sheets: JPEG sheets by name: "nearest" from the predictions, "ceiling" from the truth.
        distance: of each prediction to its nearest neighbour, NaN where visible.
    """

    sheets: dict[str, bytes]
    distance: Float[np.ndarray, "t h w"]


@kept
def preview_for(question: Question, _clip: Clip) -> Preview:
    """Errors and components behind a mask.

    Raises:
        InputError: a mask that cannot be predicted behind, or no model to ask.
    """
    mask = answers.asked_mask(question)
    components = target_components(_clip.id, _clip)

    def work(explorer) -> Preview:
        found = explorer.inspect(mask, mask_type=question.mask_token)
        predictions = found.predictions.numpy()
        true = explorer.targets.cpu().numpy()[mask.ravel()]
        return Preview(
            question=question,
            error=found.error,
            typical=explorer.typical_error,
            seconds=sum(found.timings.values()) / 1000,
            predictions=predictions,
            predicted=painted(components, predictions, mask),
            true=painted(components, true, mask),
        )

    return ask(_clip, work)


@kept
def nearest_for(question: Question, _clip: Clip) -> Nearest:
    """The collage behind a mask, of a bank that is ready.

    Raises:
        InputError: a mask that cannot be predicted behind, or the bank could not be made.
    """
    preview, bank = preview_for(question, _clip), bank_of(_clip.model).result()
    mask = preview.mask

    def work(explorer) -> Nearest:
        import torch

        target_idx = torch.from_numpy(np.flatnonzero(mask))
        true = explorer.targets[target_idx.to(explorer.targets.device)]
        asked = {"nearest": torch.from_numpy(preview.predictions), "ceiling": true}
        found = {
            name: bank.collage(
                explorer.frames, features, target_idx, leave_out=_clip.bundled or None
            )
            for name, features in asked.items()
        }
        sheets = {name: answers.hidden_sheet(one.frames, mask) for name, one in found.items()}
        return Nearest(sheets, found["nearest"].distance)

    return ask(_clip, work)


@kept
def target_components(clip_id: str, _clip: Clip) -> Components:
    """Principal components of the clip's true features."""
    from vjepa.analysis import projections

    return projections.fit_components(ask(_clip, lambda explorer: explorer.targets.cpu().numpy()))


def painted(
    components: Components, features: Float[np.ndarray, "M O"], mask: np.ndarray
) -> UInt8[np.ndarray, "t h w 3"]:
    """Features of the hidden tokens as colours on the grid."""
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask] = components.colours(features)
    return colours


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


def bank_of(model: Model) -> Future:
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
    if not bank_of(model).done():
        _await(model)


@st.fragment(run_every=1.0)
def _await(model: Model) -> None:
    with told_in_a_sentence():
        if bank_of(model).done():
            st.rerun()
        share = _making(model).share
        st.progress(share, f"Encoding clips to find nearest neighbours in, once: {share:.0%}")
