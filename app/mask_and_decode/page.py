"""Page "Mask and decode": hide a part of a clip and see what the model predicts behind it."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from app.mask_and_decode import answers, panels, way
from app.mask_and_decode.answers import Answer, DecodedAnswer, Question
from app.mask_and_decode.exports import export_menu
from app.mask_and_decode.panels import Nearest, Preview
from app.mask_and_decode.rows import denoising_row, pin_button, pinned_row
from app.workbench import components
from app.workbench.bench import query, workbench
from app.workbench.clip import Clip
from app.workbench.links import visitor
from app.workbench.models import DEMO, Model
from app.workbench.rooms import model_room, must_load
from app.workbench.session import DEFAULT_STEPS, MAPS, SEEDS, STEPS, VIEWS, State, answer_of
from vjepa.errors import InputError

LOADING = ":material/hourglass: The model is loading: your mask is answered as soon as it is here."

NUMBERS_HELP = (
    "**Hidden**: share of tokens behind the mask. **Error**: mean L1 distance of predicted and "
    "true features over them; *typical* is that of held-out clips, mean ± standard deviation. "
    "**Time**: for which this answer was waited for; *from memory* was asked before. "
    "**Mask**: whether training hid like this; what it never met may be hard for that reason alone."
)
KINDS = {
    "short": "like training's short-range ones",
    "long": "like training's long-range ones",
    "future": "like training's futures",
    "span": "like training's boxes in time",
    "": "unlike training's",
}
STEPS_HELP = (
    "Denoising steps of the decoder: from noise to pixels in this many. One step gives the blurred "
    "average of what is likely; more give sharper samples and take longer: "
    "*4x* takes four times as long as the usual two steps."
)
SEEDS_HELP = "Start from other noise: four other samples of what may be behind the mask."
VIEW_HELP = (
    "How predicted features become pixels. **diffusion**: the trained decoder draws them. "
    "**neighbours**: pieces of other clips whose true features are closest stand in."
)
MAPS_HELP = (
    "Where the prediction is wrong. **features**: the error of each predicted token. **pixels**: "
    "how far the samples differ, beside how far their mean is off: what the features leave open, "
    "and what they get wrong."
)
TOKEN_HELP = (
    "The learned token that stands for what is hidden. V-JEPA has one for each kind of mask it was "
    "trained with; one that looks untrained, still zero, tells the predictor nothing."
)
ENCODING = ":material/hourglass: Neighbours are shown once their clips are encoded: see below."
NO_DECODER = (
    "There is no decoder for this model yet: nearest neighbours stand in. This trains one; open "
    "the model again afterwards."
)


def page() -> None:
    """The page; its first answer ships with the app and needs no model."""
    workbench(results, needs_model=False, above=way.show)
    state = visitor()
    if state.model.predicts and looks_for_neighbours(state) and model_room(state.model).ready:
        panels.await_ready(state.model)


def results(state: State, clip: Clip) -> None:
    """The panels, the line of numbers and the settings; waits for the model where it must."""
    (undecoded if looks_for_neighbours(state) else decoded)(state, clip)


def looks_for_neighbours(state: State) -> bool:
    """Whether nearest neighbours are shown, by choice or for want of a decoder."""
    return state.neighbours or not state.model.decodes


def decoded(state: State, clip: Clip) -> None:
    """What the diffusion decoder draws."""
    question, began = answers.question_of(state, clip), time.perf_counter()
    waiting = not answers.at_hand(question, clip.model)
    components.tell_asked(question.id)
    expected, sentence = decoded_answer(question.expected(), clip)
    if expected:
        components.tell_preview(question.id, clip, state.mask, expected.samples[0])
    answer, sentence = decoded_answer(question, clip) if expected or waiting else (None, sentence)
    shown = panels.decoded(expected, answer, SEEDS, pixel_maps=state.pixel_maps)
    show(state, clip, shown, question, waiting)
    numbers(answer, sentence, time.perf_counter() - began, clip.model)
    with settings_row():
        diffusion_settings(state)
        pin_button(state, clip, answer)
        more(state)
        export_menu(state, clip, answer, answer.sheets if answer else {})
    pinned_row(state)
    denoising_row(state, question, clip, ready=answer is not None and not must_load(clip.model))


def decoded_answer(question: Question, clip: Clip) -> tuple[DecodedAnswer | None, str]:
    """An answer, or the sentence that says why there is none."""
    waiting = not answers.at_hand(question, clip.model)
    return answered(answers.answer_for, question, clip, waiting)


def undecoded(state: State, clip: Clip) -> None:
    """What is seen without a decoder."""
    question = answers.question_of(state, clip).undecoded()
    waiting, began = must_load(clip.model), time.perf_counter()
    components.tell_asked(question.id)
    preview, sentence = answered(panels.preview_for, question, clip, waiting)
    nearest, reason = None, ENCODING if preview else ""
    if preview and panels.bank_of(clip.model).done():
        nearest, reason = answered(panels.nearest_for, question, clip, waiting=False)
    shown = panels.undecoded(preview, nearest)
    show(state, clip, shown, question, waiting)
    numbers(preview, sentence, time.perf_counter() - began, clip.model)
    if reason:
        st.markdown(reason)
    if nearest:
        st.caption(nearest.origin)
    if not clip.model.predicts:
        return
    with settings_row():
        more(state)
        export_menu(state, clip, preview, nearest.sheets if nearest else {})
    training_note(clip.model)


def answered(
    asked: Callable[[Question, Clip], Answer | Nearest | Preview],
    question: Question,
    clip: Clip,
    waiting: bool,
) -> tuple[Answer | Nearest | None, str]:
    """The answer, or the sentence that says why there is none."""
    if waiting:
        model_room(clip.model).open()
        return None, LOADING
    try:
        return asked(question, clip), ""
    except InputError as error:
        return None, f":material/error: {error}"


def show(
    state: State, clip: Clip, shown: list[components.Panel], question: Question, waiting: bool
) -> None:
    """The panels."""
    asked = {"question": question.id, "waiting": waiting, "query": query(state)}
    components.panels(clip, state.mask, shown, **asked)


def numbers(answer: Answer | None, sentence: str, seconds: float, model: Model) -> None:
    """The line of numbers, or why there are none."""
    if answer:
        kind = answers.kind_in_training(answer.mask, in_time=model == DEMO)
        sentence = f"{answer.summary(seconds)} · mask {KINDS[kind]}"
    with st.container(key="numbers"):
        st.markdown(sentence, help=NUMBERS_HELP)


# ---- settings


def settings_row():
    """Where the settings stand."""
    return st.container(horizontal=True, vertical_alignment="center", key="settings")


def view_choice(state: State) -> None:
    """Diffusion or neighbours, for a model that has a decoder."""
    if not state.model.decodes:
        return
    wanted = st.segmented_control(
        "pixels by",
        VIEWS,
        default=VIEWS[state.neighbours],
        required=True,
        key="view",
        help=VIEW_HELP,
    )
    if (wanted == VIEWS[1]) != state.neighbours:
        state.neighbours = not state.neighbours
        st.rerun()  # the whole page: it may have to wait for the bank


def diffusion_settings(state: State) -> None:
    """How the decoder draws."""
    st.markdown("steps", help=STEPS_HELP, width="content")
    st.segmented_control(
        "steps",
        STEPS,
        key="steps",
        default=state.steps,
        required=True,
        format_func=cost,
        on_change=take_steps,
        args=(state,),
        label_visibility="collapsed",
    )
    st.button(
        "New seeds",
        icon=":material/casino:",
        on_click=state.reroll,
        help=SEEDS_HELP,
        key="reroll",
    )


def take_steps(state: State) -> None:
    """Decodes in as many steps from now on."""
    state.steps = answer_of("steps") or state.steps


def cost(steps: int) -> str:
    """So many steps, and how many times as long they take as usual, where that is long."""
    times = steps // DEFAULT_STEPS
    return f"{steps} · {times}x" if times > 2 else str(steps)


def map_choice(state: State) -> None:
    """Errors of features, or spread and error of pixels."""
    st.segmented_control(
        "errors",
        MAPS,
        key="maps",
        default=MAPS[state.pixel_maps],
        required=True,
        on_change=take_maps,
        args=(state,),
        help=MAPS_HELP,
    )


def take_maps(state: State) -> None:
    """Shows the errors that were chosen from now on."""
    if chosen := answer_of("maps"):
        state.pixel_maps = chosen == MAPS[1]


def more(state: State) -> None:
    """What draws the pixels, which errors are shown, which mask token the predictor is given."""
    model = state.model
    with st.popover("More", icon=":material/tune:"):
        view_choice(state)
        if not looks_for_neighbours(state):
            map_choice(state)
        st.selectbox(
            "mask token",
            range(model.config.num_mask_tokens),
            index=state.asked_token,
            format_func=model.token_title,
            key=f"mask_token_{model.id}",
            on_change=take_token,
            args=(state,),
            help=TOKEN_HELP,
        )
    if state.asked_token in model.untrained:
        st.markdown(":material/warning: this mask token looks untrained", help=TOKEN_HELP)


def take_token(state: State) -> None:
    """Asks with another mask token from now on."""
    offered = range(state.model.config.num_mask_tokens)
    token = answer_of(f"mask_token_{state.model.id}", offered)
    state.mask_token = state.mask_token if token is None else token


def training_note(model: Model) -> None:
    """How to get a decoder."""
    if not model.decodes:
        st.caption(NO_DECODER)
        st.code(model.train_command, language="bash", wrap_lines=True)
