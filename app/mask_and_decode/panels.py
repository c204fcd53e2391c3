"""The panels of "Mask and decode": decoded samples; without a decoder, what needs none.

That is predictions as the nearest tubelets of a bank of clips, their components, their errors.
"""

from __future__ import annotations

from collections import Counter
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
from app.mask_and_decode.answers import Answer, DecodedAnswer, Question
from app.workbench.bench import told_in_a_sentence
from app.workbench.clip import Clip
from app.workbench.components import Panel
from app.workbench.memory import kept, size_of, the_memory
from app.workbench.models import DEMO, Model
from app.workbench.queue import the_queue
from app.workbench.rooms import GONE, ModelRoom, ask, mended, model_room
from vjepa.errors import InputError
from vjepa.formats import published

if TYPE_CHECKING:
    from vjepa.analysis.projections import Components


ORIGINAL = Panel(
    "original", "original", "original", "The clip as it is: what is true behind the mask."
)
MASKED = Panel(
    "masked",
    "masked",
    "model sees",
    "All that the context encoder gets: hidden tokens are dropped before it.",
)
SAMPLE_TIP = (
    "The predicted features of the hidden tokens, decoded to pixels. Each sample starts from other "
    "noise: what they share the model knows, where they differ it does not."
)
CEILING_TIP = (
    "Decoded from the true features of the hidden tokens: as good as this decoder gets. What "
    "differs from a sample is the predictor's doing."
)
FILL_TIP = (
    "The best fill that needs no model, here {kind}. What a sample has above its number is what "
    "the model knows. PSNR in decibels over the hidden pixels: higher is nearer to the truth."
)
ERROR_TIP = (
    "How far each predicted token is from the true one (L1 distance of features). Bright is far."
)
NEAREST_TIP = (
    "Nearest neighbours: each hidden token shows the piece of another clip whose true features are "
    "closest to the predicted ones. No decoder is needed; what no other clip has cannot be shown."
)
NEAREST_CEILING_TIP = (
    "Nearest neighbours of the true features: as good as these clips get. What differs from the "
    "panel on the left is the predictor's doing."
)
DISTANCE_TIP = (
    "How far each predicted token is from its nearest neighbour. Bright: no clip holds the like."
)
EXPECTED_TIP = (
    "Decoded in one step: close to the mean of all that the decoder thinks possible, no sample. It "
    "is there first; more steps draw samples."
)
SPREAD_TIP = (
    "What the features do not determine: how far the samples differ at a pixel (standard deviation "
    "over the seeds, in grey levels of 255)."
)
MISTAKE_TIP = (
    "How far the samples' mean is from the truth, pixel by pixel, in grey levels of 255. Where it "
    "is large and the spread small, the model is sure and wrong."
)
PREDICTED_PCA_TIP = (
    "The predictions' three principal components as red, green and blue, on the scale of the "
    "clip's true features: compare with the panel on the right."
)
TRUE_PCA_TIP = "The true features of the same tokens, in the same colours."


def decoded(
    expected: DecodedAnswer | None,
    answer: DecodedAnswer | None,
    count: int,
    *,
    pixel_maps: bool = False,
) -> list[Panel]:
    """Samples of the diffusion decoder, what they stand against, and how wrong they are.

    Args:
        expected: the one-step answer, if there is one.
        answer: what there is to show, if anything.
        count: how many samples there are.
        pixel_maps: spread and mistake of the pixels, in place of the error of the features.
    """
    kind = answers.FILLS[answer.fill_kind] if answer else "what is best"
    fill = picture("fill", "best fill", FILL_TIP.format(kind=kind), answer, "best fill")
    ceiling = picture("ceiling", "ceiling", CEILING_TIP, answer, "ceiling")
    maps = [
        pixels("spread", SPREAD_TIP, answer and answer.spread, answer),
        pixels("mistake", MISTAKE_TIP, answer and answer.mistake, answer),
    ]
    rest = [ORIGINAL, fill, ceiling, *maps]
    if not pixel_maps:
        rest = [ORIGINAL, MASKED, fill, ceiling, error(answer)]
    first = picture("expected", "expected", EXPECTED_TIP, expected, "sample 1")
    return [*samples(answer, count), first, *rest]


def picture(name: str, title: str, tip: str, answer: DecodedAnswer | None, sheet: str) -> Panel:
    """One of an answer's pictures, and how like the truth it is."""
    if answer is None:
        return Panel(name, "pixels", title, tip)
    return Panel(name, "pixels", title, tip, answer.likeness(sheet), answer.sheets[sheet])


def samples(answer: DecodedAnswer | None, count: int) -> list[Panel]:
    """One panel a seed."""
    titles = [f"sample {i + 1}" for i in range(count)]
    seeds = answer.question.seeds if answer else range(count)
    return [
        picture(f"sample-{i}", title, f"{SAMPLE_TIP} Seed {seed}.", answer, title)
        for i, (title, seed) in enumerate(zip(titles, seeds, strict=True))
    ]


def pixels(name: str, tip: str, sheet: bytes | None, answer: DecodedAnswer | None) -> Panel:
    """A map of the pixels, on the scale that the answer's maps share."""
    if answer is None:
        return Panel(name, "pixels", name, tip)
    return Panel(name, "pixels", name, tip, data=sheet, scale=(0.0, answer.brightest))


def undecoded(preview: Preview | None, nearest: Nearest | None) -> list[Panel]:
    """Nearest neighbours and principal components: what there is to see without a decoder."""
    found = nearest.sheets if nearest else {"nearest": b"", "ceiling": b""}
    return [
        Panel("nearest", "pixels", "nearest neighbours", NEAREST_TIP, data=found["nearest"]),
        Panel("ceiling", "pixels", "ceiling", NEAREST_CEILING_TIP, data=found["ceiling"]),
        colours("pca-predicted", "PCA predicted", PREDICTED_PCA_TIP, preview and preview.predicted),
        colours("pca-true", "PCA true", TRUE_PCA_TIP, preview and preview.true),
        ORIGINAL,
        MASKED,
        error(preview),
        values("distance", DISTANCE_TIP, nearest and nearest.distance),
    ]


def error(answer: Answer | None) -> Panel:
    """How wrong the predictions are."""
    scale = answer.error_range() if answer else None
    return values("error", ERROR_TIP, answer and answer.error, scale)


def values(
    name: str, tip: str, found: np.ndarray | None, scale: tuple[float, float] | None = None
) -> Panel:
    """One number a token, (t, h, w); the largest is the brightest where there is no scale."""
    if found is None:
        return Panel(name, "values", name, tip)
    scale = scale or (0.0, float(np.nanmax(found)))
    return Panel(name, "values", name, tip, data=found.astype("<f4").tobytes(), scale=scale)


def colours(name: str, title: str, tip: str, found: np.ndarray | None) -> Panel:
    """One RGB colour a token, uint8 (t, h, w, 3)."""
    return Panel(name, "colours", title, tip, data=b"" if found is None else found.tobytes())


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
        sources: how many of the neighbours of predictions are from each clip of the bank.
    """

    sheets: dict[str, bytes]
    distance: Float[np.ndarray, "t h w"]
    sources: dict[str, int]

    @property
    def origin(self) -> str:
        """Where the neighbours come from, the clip with most of them first."""
        most = sorted(self.sources, key=self.sources.get, reverse=True)
        told = [f"{name.replace('_', ' ')} ({self.sources[name]})" for name in most[:SOURCES]]
        rest = len(most) - len(told)
        return f"Neighbours from {', '.join(told)}" + (f" and {rest} more clips." if rest else ".")


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
        names = Counter(bank.names[clip] for clip in found["nearest"].sources.tolist())
        return Nearest(sheets, found["nearest"].distance, dict(names))

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


SOURCES = 4
"""Clips that neighbours are said to come from, by name."""
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
        from decoder import Bank

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
