"""An answer that is kept on the page, to compare others with: another mask, seed or clip."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app.mask_and_decode.answers import GREY, DecodedAnswer, hidden_pixels, pasted
from app.workbench import components, figures
from app.workbench.clip import Clip
from app.workbench.components import Panel
from app.workbench.session import State

HELP = (
    "Keep this answer below and compare the next ones with it, in step: another mask, other seeds, "
    "another clip or model."
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
    components.pinned_panels(state.pinned)


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
