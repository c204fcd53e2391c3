"""Page "Mask and decode": hide a part of a clip and see what the model predicts behind it."""

from __future__ import annotations

import streamlit as st

from app import answers, components, export
from app.answers import Answer
from app.session import STEPS, State, answer_for, at_hand, model_room
from app.sources import Clip
from app.workbench import query, workbench
from vjepa.errors import InputError

LOADING = ":material/hourglass: The model is loading: your mask is decoded as soon as it is here."

NUMBERS_HELP = (
    "**Hidden**: share of tokens behind the mask. **Error**: mean L1 distance of predicted and "
    "true features over them; *typical* is that of held-out clips, mean ± standard deviation. "
    "**Time**: from mask to pixels, on the server."
)
STEPS_HELP = (
    "Denoising steps of the decoder: from noise to pixels in this many. One step gives the blurred "
    "average of what is likely; more give sharper samples and take longer."
)
SEEDS_HELP = "Start from other noise: four other samples of what may be behind the mask."


def page() -> None:
    """The page; its first answer ships with the app and needs no model."""
    workbench(results, needs_model=False)


def results(state: State, clip: Clip) -> None:
    """The panels, the line of numbers and the settings; waits for the model where it must."""
    question = answers.ask(clip, state.mask, state.seeds, state.steps)
    waiting = not at_hand(question)
    if waiting:
        model_room().open()
    answer, sentence = (None, LOADING) if waiting else answered(question, clip)
    components.panels(clip, state.mask, answer, waiting=waiting, query=query(state))
    with st.container(key="numbers"):
        st.markdown(answer.summary() if answer else sentence, help=NUMBERS_HELP)
    settings_row(state, clip, answer)


def answered(question: answers.Question, clip: Clip) -> tuple[Answer | None, str]:
    """The answer, or the sentence that says why there is none."""
    try:
        return answer_for(question, clip), ""
    except InputError as error:
        return None, f":material/error: {error}"


def settings_row(state: State, clip: Clip, answer: Answer | None) -> None:
    """How the decoder draws, and ways to take the result along."""
    with st.container(horizontal=True, vertical_alignment="center", key="settings"):
        st.markdown("steps", help=STEPS_HELP, width="content")
        st.segmented_control(
            "steps",
            STEPS,
            key="steps",
            default=state.steps,
            required=True,
            on_change=lambda: setattr(state, "steps", st.session_state.steps),
            label_visibility="collapsed",
        )
        st.button(
            "New seeds",
            icon=":material/casino:",
            on_click=state.reroll,
            help=SEEDS_HELP,
            key="reroll",
        )
        export.menu(clip, answer)
