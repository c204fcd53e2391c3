"""What the model answered for one mask, in the form that the screen shows and a folder keeps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.workbench import figures
from app.workbench.clip import Clip
from app.workbench.figures import from_link, to_link
from app.workbench.memory import kept
from app.workbench.models import LONG, Model
from app.workbench.queue import heed, overtaken
from app.workbench.rooms import ask as ask_model
from app.workbench.rooms import must_load
from app.workbench.session import ASSETS, State

GREY = np.uint8(128)
SHEETS = ("ceiling", "spread", "mistake", "fill")
"""Pictures of an answer beside its samples."""
FILLS = {
    "mean_colour": "the mean colour of what is visible",
    "temporal_copy": "each place as it was at its nearest visible moment",
    "interpolation": "each place between its visible moments",
    "inpainting": "OpenCV's in-painting of each frame",
}
"""What fills a hole without a model, in words."""

IN_SPACE = {"short": (0.38, 0.72), "long": (0.72, 0.98)}
"""Share of the frame that the paper's masks hide, through all time: nearly all of 800 draws."""

FIRST_VIEW = ASSETS / "first_view"
"""Answers about each bundled clip before anyone paints, in folders by name."""
EXPECTED = "expected"
"""The folder in each of them with the one-step answer."""


@dataclass(frozen=True)
class Question:
    """Everything that an answer depends on.

    Attributes:
        clip_id: id of the clip.
        mask: in its link form, grid included.
        seeds: one decoded sample each.
        steps: denoising steps of the decoder.
        mask_token: which of the predictor's stands for what is hidden.
    """

    clip_id: str
    mask: str
    seeds: tuple[int, ...]
    steps: int
    mask_token: int = LONG

    @property
    def id(self) -> str:
        """One word for it."""
        return f"{self.clip_id}/{self.mask}/{self.seeds}/{self.steps}/{self.mask_token}"

    def expected(self) -> Question:
        """The same in one step: what is expected, in a fraction of the time."""
        return replace(self, seeds=self.seeds[:1], steps=1)

    def undecoded(self) -> Question:
        """The same, where nothing is decoded."""
        return replace(self, seeds=(), steps=0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is known of any prediction.

    Attributes:
        question: what was asked.
        error: L1 distance of prediction and target per token, NaN where visible.
        typical: mean and standard deviation of a clip's error on the model's test clips.
    """

    question: Question
    error: Float[np.ndarray, "t h w"]
    typical: tuple[float, float] | None

    @property
    def mask(self) -> Bool[np.ndarray, "t h w"]:
        """True = hidden."""
        return ~np.isnan(self.error)

    def summary(self, seconds: float) -> str:
        """The line of numbers, as Markdown.

        Args:
            seconds: for which the visitor waited for it.
        """
        typical = ""
        if self.typical:
            mean, spread = self.typical
            typical = f" (typical {_short(mean)} ± {_short(spread)})"
        return " · ".join(
            (
                f"**{self.mask.mean():.0%}** hidden",
                f"**{self.mask.sum()}** tokens predicted",
                f"error **{_short(np.nanmean(self.error))}**{typical}",
                f"{seconds:.1f} s" if seconds >= AT_ONCE else "from memory",
            )
        )

    def error_range(self) -> tuple[float, float]:
        """Errors at the two ends of the colour scale: fixed by the model where it is known."""
        if self.typical:
            return 0.0, 2 * self.typical[0]
        return 0.0, float(np.nanmax(self.error))


@dataclass(frozen=True, kw_only=True)
class DecodedAnswer(Answer):
    """A prediction, decoded.

    Attributes:
        samples: one JPEG sheet per seed, pasted into the clip.
        ceiling: JPEG sheet decoded from the true features, pasted into the clip.
        spread: JPEG sheet of each pixel's standard deviation over the samples, as colours.
        mistake: of the absolute error of their mean.
        brightest: the value at the bright end of both, in grey levels (0..255).
        fill: JPEG sheet of the best fill without a model; a preview has none, to be there sooner.
        fill_kind: which it is, a key of `FILLS`.
        psnr: likeness to the truth of each of `sheets`, dB over the hidden pixels.
    """

    samples: tuple[bytes, ...]
    ceiling: bytes
    spread: bytes
    mistake: bytes
    brightest: float
    fill: bytes
    fill_kind: str
    psnr: dict[str, float]

    @property
    def sheets(self) -> dict[str, bytes]:
        """Its pictures, by what the screen calls them."""
        named = {f"sample {i + 1}": sheet for i, sheet in enumerate(self.samples)}
        named |= {"ceiling": self.ceiling, "best fill": self.fill}
        return named | {"spread": self.spread, "mistake": self.mistake}

    @property
    def gain(self) -> float:
        """PSNR of the samples, on average, above that of the best fill, dB."""
        samples = [self.psnr[f"sample {i + 1}"] for i in range(len(self.samples))]
        return float(np.mean(samples)) - self.psnr["best fill"]

    def summary(self, seconds: float) -> str:
        """The line of numbers, with what the model adds."""
        return f"{super().summary(seconds)} · **{self.gain:+.1f} dB** over the best fill"

    def likeness(self, name: str) -> str:
        """How like the truth a picture is, for the screen."""
        return f"{self.psnr[name]:.1f} dB"


def from_result(question: Question, result: Any, clip: Clip) -> DecodedAnswer:
    """Packs an `Explorer.predict` result."""
    from decoder.scoring.metrics import error_map, psnr, spread_map

    error = np.asarray(result.error, dtype=np.float32)
    mask = ~np.isnan(error)
    spread, mistake = spread_map(result.frames), error_map(result.frames, clip.frames)
    hidden = hidden_pixels(mask, mistake.shape)[..., 0]
    fill_kind, fill, likeness = "", b"", {}
    if question != question.expected():
        fill_kind, fill, likeness["best fill"] = best_fill(clip.id, question.mask, clip)
    drawn = {f"sample {i + 1}": frames for i, frames in enumerate(result.frames)}
    drawn["ceiling"] = result.ceiling
    brightest = float(max(1, round(np.quantile(mistake[hidden], 0.99))))  # outliers may saturate
    return DecodedAnswer(
        question=question,
        samples=tuple(hidden_sheet(frames, mask) for frames in result.frames),
        ceiling=hidden_sheet(result.ceiling, mask),
        spread=figures.heat_sheet(spread, brightest),
        mistake=figures.heat_sheet(mistake, brightest),
        brightest=brightest,
        fill=fill,
        fill_kind=fill_kind,
        psnr={name: psnr(frames, clip.frames, hidden) for name, frames in drawn.items()} | likeness,
        error=error,
        typical=result.typical_error,
    )


@kept
def best_fill(clip_id: str, mask: str, _clip: Clip) -> tuple[str, bytes, float]:
    """What comes nearest to the truth behind a mask without any model.

    Args:
        clip_id: of the clip.
        mask: in its link form.

    Returns:
        a key of `FILLS`, its hidden pixels as a JPEG sheet, and its PSNR in dB.
    """
    from decoder.scoring.metrics import psnr, trivial_fills

    tokens = mask_in(mask)
    hidden = hidden_pixels(tokens, _clip.frames.shape)[..., 0]
    fills = trivial_fills(_clip.frames, hidden)
    likeness = {name: psnr(frames, _clip.frames, hidden) for name, frames in fills.items()}
    best = max(likeness, key=likeness.get)
    return best, hidden_sheet(fills[best], tokens), likeness[best]


def hidden_sheet(frames: figures.Frames, mask: Bool[np.ndarray, "t h w"]) -> bytes:
    """The hidden pixels as a JPEG sheet; the others are left out, as the browser has them.

    Their grey cannot bleed into the hidden ones: patches begin and end where JPEG's blocks of 8
    pixels do.
    """
    return figures.jpeg_sheet(np.where(hidden_pixels(mask, frames.shape), frames, GREY))


def pasted(sheet: bytes, mask: Bool[np.ndarray, "t h w"], clip: Clip) -> figures.Frames:
    """The clip with the sheet's pixels where the mask hides; all else is the clip, untouched."""
    decoded = figures.read_sheet(sheet, len(clip.frames))
    return np.where(hidden_pixels(mask, clip.frames.shape), decoded, clip.frames)


def hidden_pixels(
    mask: Bool[np.ndarray, "t h w"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "T H W 1"]:
    """The mask at the resolution of frames of that shape: each token becomes its tubelet."""
    for axis, size in enumerate(shape[:3]):
        mask = mask.repeat(size // mask.shape[axis], axis=axis)
    return mask[..., None]


def save(answer: DecodedAnswer, folder: Path) -> None:
    """Writes an answer as JPEG files, an .npy and a JSON beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, sheet in enumerate(answer.samples):
        (folder / f"sample_{index}.jpg").write_bytes(sheet)
    for name in SHEETS:
        if sheet := getattr(answer, name):
            (folder / f"{name}.jpg").write_bytes(sheet)
    np.save(folder / "error.npy", answer.error)
    rest = {
        "question": asdict(answer.question),
        "typical": answer.typical,
        "brightest": answer.brightest,
        "fill_kind": answer.fill_kind,
        "psnr": answer.psnr,
    }
    (folder / "answer.json").write_text(json.dumps(rest, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> DecodedAnswer:
    """Reads what `save` wrote."""
    rest = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    question = Question(**{**rest["question"], "seeds": tuple(rest["question"]["seeds"])})
    return DecodedAnswer(
        question=question,
        samples=tuple(
            (folder / f"sample_{index}.jpg").read_bytes() for index in range(len(question.seeds))
        ),
        **{name: _read(folder / f"{name}.jpg") for name in SHEETS},
        **{name: rest[name] for name in ("brightest", "fill_kind", "psnr")},
        error=np.load(folder / "error.npy"),
        typical=tuple(rest["typical"]) if rest["typical"] else None,
    )


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def ask(
    clip: Clip,
    mask: Bool[np.ndarray, "t h w"],
    seeds: tuple[int, ...],
    steps: int,
    mask_token: int = LONG,
) -> Question:
    """The question that a clip, a mask and the settings make."""
    return Question(clip.id, to_link(mask), seeds, steps, mask_token)


def question_of(state: State, clip: Clip) -> Question:
    """What the page asks about a clip."""
    return ask(clip, state.mask, state.seeds, state.steps, state.asked_token)


def asked_mask(question: Question) -> Bool[np.ndarray, "t h w"]:
    """The mask of a question."""
    return mask_in(question.mask)


def mask_in(link: str) -> Bool[np.ndarray, "t h w"]:
    """The mask of a link that we made ourselves, on the grid that it names."""
    return from_link(link, tuple(map(int, link.partition(".")[0].split("x"))))


AT_ONCE = 0.05
"""Seconds below which nobody waited: the answer was there."""


def _short(value: float) -> str:
    """.42 for 0.42."""
    return f"{value:.2f}".removeprefix("0")


@st.cache_resource(show_spinner=False)
def shipped() -> dict[Question, DecodedAnswer]:
    """The answers that ship with the app, shown before any model is loaded."""
    every = [load(path.parent) for path in sorted(FIRST_VIEW.rglob("answer.json"))]
    return {answer.question: answer for answer in every}


@kept
def answer_for(question: Question, _clip: Clip) -> DecodedAnswer:
    """The answer to a question; asked only once, and never if it shipped with the app."""
    return shipped().get(question) or fresh_answer(question, _clip)


def fresh_answer(question: Question, clip: Clip) -> DecodedAnswer:
    """What is behind a mask, decoded; given up between two steps where it is wanted no more.

    Raises:
        InputError: a mask that cannot be predicted behind, or no model to ask.
    """
    mask, gone, newer = asked_mask(question), Event(), overtaken()
    settings = {"seeds": question.seeds, "steps": question.steps}

    def check(step: int, *_: Any) -> None:
        if step < question.steps - 1 and (gone.is_set() or newer()):
            raise StaleError

    def work(explorer: Any) -> DecodedAnswer:
        found = explorer.predict(mask, mask_type=question.mask_token, callback=check, **settings)
        return from_result(question, found, clip)

    try:
        return ask_model(clip, work)
    except StaleError:
        heed(begun=False)  # the newer question is next
        st.stop()
    finally:
        gone.set()  # who asked has left, should the work still go on


class StaleError(Exception):
    """Nobody waits for this answer any more."""


def at_hand(question: Question, model: Model) -> bool:
    """Whether the answer can be shown without waiting for the model to load."""
    return not must_load(model) or question in shipped()


def kind_in_training(mask: Bool[np.ndarray, "t h w"], *, in_time: bool) -> str:
    """Which kind of training's masks a mask is like: "short", "long", "future", "span", or none.

    Training hides the same few boxes of patches from the first hidden time step to the last.

    Args:
        mask: True = hidden.
        in_time: whether that training hid futures and boxes over a part of the time, as ours does.
    """
    steps = np.flatnonzero(mask.any((1, 2)))
    if not len(steps) or (mask[steps[0] : steps[-1] + 1] != mask[steps[0]]).any():
        return ""
    frame = mask[steps[0]]
    if len(steps) == len(mask):
        found = (kind for kind, (low, high) in IN_SPACE.items() if low <= frame.mean() < high)
        return next(found, "") if _is_solid(frame) else ""
    if frame.all():
        return "future" if in_time and steps[-1] == len(mask) - 1 else ""
    pieces = cv2.connectedComponents(frame.astype(np.uint8), connectivity=4)[0] - 1
    return "span" if in_time and pieces <= 2 else ""


def _is_solid(frame: Bool[np.ndarray, "h w"]) -> bool:
    """Whether each hidden patch is a part of two by two."""
    fours = np.pad(frame[:-1, :-1] & frame[1:, :-1] & frame[:-1, 1:] & frame[1:, 1:], 1)
    covered = fours[:-1, :-1] | fours[1:, :-1] | fours[:-1, 1:] | fours[1:, 1:]
    return bool((covered == frame).all())
