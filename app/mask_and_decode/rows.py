"""Rows below the panels, which stay what they are: a pinned answer, and a sample from noise on.

A pinned answer is there to compare others with: another mask, seed or clip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from app.mask_and_decode.answers import (
    GREY,
    DecodedAnswer,
    Question,
    asked_mask,
    hidden_pixels,
    pasted,
)
from app.workbench import components, figures
from app.workbench.bench import told_in_a_sentence
from app.workbench.clip import Clip
from app.workbench.components import Panel
from app.workbench.memory import kept
from app.workbench.rooms import ask
from app.workbench.session import State, answer_of

HELP = (
    "Keep this answer below and compare the next ones with it, in step: another mask, other seeds, "
    "another clip or model."
)
STEPS_SHOWN = 8
DENOISING = "From noise to picture, step by step"
DENOISED = (
    "Sample 1 once more, in {steps} steps. Above: what the decoder is given, and how much of it is "
    "noise. Below: the picture that it makes of that, and how like the truth it is. A step goes "
    "a part of the way there, and the next one is given that."
)
GIVEN_TIP = "What the decoder is given at step {step} of {steps}: picture and noise, mixed."
GUESS_TIP = (
    "The clean picture that the decoder makes of what is above. Early ones are averages of all "
    "that is possible; the last one is the sample."
)


def pin_button(state: State, clip: Clip, answer: DecodedAnswer | None) -> None:
    """Keeps the answer on screen."""
    st.button(
        "Pin",
        icon=":material/push_pin:",
        on_click=lambda: setattr(state, "pinned", panels_of(clip, answer)),
        disabled=answer is None,
        help=HELP,
        key="pin",
    )


def pinned_row(state: State) -> None:
    """What is pinned, and the way out."""
    if not state.pinned:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Pinned**: {state.pinned[0].tip}", width="content")
        st.button("Unpin", on_click=lambda: setattr(state, "pinned", ()), key="unpin")
    components.fixed_panels(state.pinned, "pinned")


def panels_of(clip: Clip, answer: DecodedAnswer) -> tuple[Panel, ...]:
    """An answer as panels that need neither its clip nor its mask on the painter."""
    question, mask = answer.question, answer.mask
    title = f"{clip.title}, {mask.mean():.0%} hidden, seed {question.seeds[0]}"
    title += f", {question.steps} steps, {clip.model.address.title}"
    hidden = hidden_pixels(mask, clip.frames.shape)
    seen = np.where(hidden, GREY, clip.frames)
    films = {"model sees": (seen, "")}
    for name in ("sample 1", "sample 2", "best fill", "ceiling"):
        films[name] = (pasted(answer.sheets[name], mask, clip), answer.likeness(name))
    return tuple(
        Panel(f"pinned-{i}", "frames", name, title, side, figures.jpeg_sheet(frames))
        for i, (name, (frames, side)) in enumerate(films.items())
    )


def denoising_row(state: State, question: Question, clip: Clip, *, ready: bool) -> None:
    """The decoder's steps, drawn for who opens them.

    Args:
        state: keeps whether they are open.
        question: whose first sample is drawn.
        clip: what it is about.
        ready: whether the model is here to be asked.
    """
    look = {"key": "denoising", "on_change": _take_denoising, "args": (state,)}
    place = st.expander(DENOISING, "denoising" in state.settings, **look)
    if not (place.open and ready):
        return
    with place, told_in_a_sentence():
        st.caption(DENOISED.format(steps=question.steps))
        components.fixed_panels(denoising_of(question, clip), "denoised", pairs=True)


def _take_denoising(state: State) -> None:
    state.settings.pop("denoising", None)
    if answer_of("denoising"):
        state.settings["denoising"] = "open"


@kept
def denoising_of(question: Question, _clip: Clip) -> tuple[Panel, ...]:
    """What the decoder is given and what it makes of that, at some of its steps, two panels each.

    Raises:
        InputError: a mask that cannot be predicted behind, or no model to ask.
    """
    mask, steps = asked_mask(question), question.steps
    chosen = np.unique(np.linspace(0, steps - 1, STEPS_SHOWN).round().astype(int)).tolist()

    def work(explorer: Any) -> tuple[Panel, ...]:
        import torch

        from decoder.scoring.metrics import psnr

        met: dict[int, Any] = {}

        def meet(step: int, given: Any, guess: Any) -> None:
            if step in chosen:
                met[step] = torch.stack([given[0], guess[0]])

        asked = {"seeds": question.seeds[:1], "mask_type": question.mask_token}
        explorer.predict(mask, steps=steps, callback=meet, **asked)
        hidden = hidden_pixels(mask, _clip.frames.shape)[..., 0]
        shown = []
        for step, tubelets in met.items():
            given, guess = explorer.paste(tubelets, torch.from_numpy(mask))
            likeness = f"{psnr(guess, _clip.frames, hidden):.1f} dB"
            shown += _step_panels(step, steps, given, guess, likeness)
        return tuple(shown)

    return ask(_clip, work)


def _step_panels(
    step: int, steps: int, given: figures.Frames, guess: figures.Frames, likeness: str
) -> tuple[Panel, Panel]:
    """One step. Flow matching goes evenly: each step takes away as much noise as the others."""
    noise, tip = f"{1 - step / steps:.0%}", GIVEN_TIP.format(step=step + 1, steps=steps)
    pictures = figures.jpeg_sheet(given), figures.jpeg_sheet(guess)
    return (
        Panel(f"given-{step}", "frames", f"step {step + 1}", tip, noise, pictures[0]),
        Panel(f"guess-{step}", "frames", "picture", GUESS_TIP, likeness, pictures[1]),
    )
