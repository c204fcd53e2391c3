"""Page "Mask and decode": hide a part of a clip and see what the model predicts behind it."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from app import answers, clip_row, components, export, permalink, presets
from app.answers import Answer
from app.mask_bits import from_bits
from app.session import STEPS, State, answer_for, at_hand, model_room, start_state
from app.sources import Clip
from vjepa.errors import InputError

PAINTER = "painter"

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
LINK_HELP = "This page with this clip, mask and settings, as a link. Uploads cannot be linked."


def page() -> None:
    """The whole page, from the row of clips down to the numbers."""
    state = visitor()
    clip = clip_row.choose(state)
    if state.notice:
        st.warning(state.notice, icon=":material/error:")
    elif clip.still:
        st.info("This clip does not move: one picture is repeated.", icon=":material/info:")
    stage(clip)
    if not model_room().ready:
        await_model()


def visitor() -> State:
    """This visitor's state; on the first run, the one that the link describes."""
    if "visitor" not in st.session_state:
        state = st.session_state.visitor = start_state()
        try:
            permalink.read_query(st.query_params, state)
        except InputError as error:
            state.notice = str(error)
    return st.session_state.visitor


@st.fragment
def stage(clip: Clip) -> None:
    """Painter on the left, what the model answers on the right; all that a stroke runs again."""
    state = visitor()
    left, right = st.columns([6, 11], gap="medium")
    with left:
        sentence = take_stroke(state, clip)
        components.painter(clip, state.sent_mask, state.rev, key=PAINTER)
        preset_row(state)
    with right:
        if sentence:
            st.warning(sentence, icon=":material/error:")
        results(state, clip)


@st.fragment(run_every=1.0)
def await_model() -> None:
    """Loads the model once the browser has painted, and runs the page again when it is here.

    The first run belongs to the first paint, which importing torch would hold up; the second is
    the browser's own.
    """
    state = visitor()
    if state.painted:
        model_room().open()
    state.painted = True
    if model_room().ready:
        st.rerun()


def take_stroke(state: State, clip: Clip) -> str:
    """Takes over the mask that the browser painted on this clip since we last sent one.

    Returns:
        What is wrong with that mask, in a sentence, or nothing.
    """
    stroke = (st.session_state.get(PAINTER) or {}).get("mask")
    if stroke is None:  # a painter that was just mounted, here or after a visit to another page
        if state.mask is not state.sent_mask:
            state.send_mask(state.mask)
    elif stroke["clip"] == clip.id and stroke["rev"] == state.rev:
        try:
            state.mask = from_bits(stroke["bits"], state.mask.shape)
        except InputError as error:
            return str(error)
    return ""


def preset_row(state: State) -> None:
    """Masks by name."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="presets"):
        for name, preset in presets.PRESETS.items():
            st.button(
                preset.label,
                key=f"preset_{name}",
                help=preset.help,
                on_click=lambda name=name: presets.use(name, state),
            )


def results(state: State, clip: Clip) -> None:
    """The panels, the line of numbers and the settings; waits for the model where it must."""
    question = answers.ask(clip, state.mask, state.seeds, state.steps)
    waiting = not at_hand(question)
    if waiting:
        model_room().open()
    answer, sentence = (None, LOADING) if waiting else answered(question, clip)
    query = urlencode(permalink.to_query(state))
    components.panels(clip, state.mask, answer, waiting=waiting, query=query)
    with st.container(key="numbers"):
        st.markdown(answer.summary() if answer else sentence, help=NUMBERS_HELP)
    settings_row(state, clip, answer, query)


def answered(question: answers.Question, clip: Clip) -> tuple[Answer | None, str]:
    """The answer, or the sentence that says why there is none."""
    try:
        return answer_for(question, clip), ""
    except InputError as error:
        return None, f":material/error: {error}"


def settings_row(state: State, clip: Clip, answer: Answer | None, query: str) -> None:
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
        with st.popover("Link", icon=":material/link:", help=LINK_HELP):
            page = (st.context.url or "").partition("?")[0]
            st.code(f"{page}?{query}", language=None, wrap_lines=True)
