"""The menu of models: which one looks at the clip, and what is known of it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import models
from app.models import Model, ModelSource
from app.session import State
from vjepa.errors import InputError

HELP = "The model that predicts: choose another one, see its size and what one token covers."
CHOICE_HELP = (
    "The bundled demo model, those downloaded with `python -m vjepa download NAME`, and those "
    "that you opened."
)
PATH_HELP = (
    "On the machine that runs this app: an official V-JEPA or V-JEPA 2.1 file (.pth.tar, .pt), a "
    "V-JEPA 2 folder of transformers, or a folder with config.json and model.safetensors. Nothing "
    "in a file is run."
)
FRAMES_HELP = (
    "Frames in a clip. Fewer than a model was trained with are faster; the positions are "
    "interpolated. 64 frames take a minute without a GPU."
)
FRAMES = (0, 8, 16, 32, 64)
"""0: as published."""
WIDTH = 380
ABOUT_DEMO = """**V-JEPA, demo**: small, and trained on drawn clips only. On real ones it knows
colours and coarse motion."""


def model_menu(state: State) -> None:
    """A popover with the models to choose from, a path, and the model's shape."""
    menu = st.popover(state.model.source.title, icon=":material/neurology:", help=HELP)
    with menu.container(width=WIDTH):
        choice(state)
        if models.paths_allowed():
            path(state)
        about(state.model)


def choice(state: State) -> None:
    """The models that are known."""
    st.session_state.model = state.opening or state.model.source
    st.selectbox(
        "model",
        choices(state),
        format_func=lambda source: source.title,
        key="model",
        on_change=lambda: state.open(st.session_state.model),
        help=CHOICE_HELP,
    )


def choices(state: State) -> list[ModelSource]:
    """The server's own, the bundled one, the downloaded, and what the visitor opened."""
    names = [models.default().name, models.BUNDLED, *models.downloaded()]
    every = [*map(ModelSource, names), *state.opened, state.opening or state.model.source]
    return list(dict.fromkeys(every))


def path(state: State) -> None:
    """Opens what the visitor typed."""
    with st.form("open_model", border=False):
        st.text_input(
            "or a file or folder", key="model_path", placeholder="vitl16.pth.tar", help=PATH_HELP
        )
        st.selectbox(
            "frames",
            FRAMES,
            format_func=lambda count: str(count or "as published"),
            key="model_frames",
            help=FRAMES_HELP,
        )
        st.form_submit_button("Open", on_click=open_path, args=(state,))


def open_path(state: State) -> None:
    """The typed path becomes the model, as soon as it is loaded."""
    typed = st.session_state.model_path.strip().strip("'\"")
    if not typed:
        return
    source = ModelSource(str(Path(typed).expanduser()), st.session_state.model_frames or None)
    try:
        models.check(source)
        state.open(source)
    except InputError as error:
        state.notice = str(error)


def about(model: Model) -> None:
    """The model's shape."""
    shape = model.config
    t, h, w = shape.grid
    title = ABOUT_DEMO if model == models.DEMO else f"**{model.source.title}**"
    st.markdown(
        f"""
{title}

- clip: {shape.num_frames} frames of {shape.image_size} x {shape.image_size} pixels
- token: {shape.tubelet_size} frames x {shape.patch_size} x {shape.patch_size} pixels
- grid: {t} x {h} x {w} (time, height, width) = {shape.num_tokens} tokens
- encoder: {shape.depth} layers, {shape.embed_dim} wide
- predictor: {shape.predictor_depth} layers, {shape.predictor_embed_dim} wide
"""
    )
