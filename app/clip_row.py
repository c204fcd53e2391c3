"""The row on top: which clip, from when, how fast, and which model looks at it."""

from __future__ import annotations

import secrets

import streamlit as st

from app import components
from app.model_menu import model_menu
from app.models import DEMO
from app.session import State
from app.sources import (
    DEFAULT_FPS,
    UPLOAD_LIMIT,
    UPLOAD_TYPES,
    WORLD_SEEDS,
    Clip,
    Source,
    Upload,
    bundled_clips,
    load_clip,
    title,
)
from vjepa.errors import InputError

PICKER = "picker"
UPLOADER = "uploader"
WORLD_HELP = "A clip drawn by the demo world: objects over panoramas. Click again for another."
UPLOAD_HELP = f"Your own video, animation or photo, up to {UPLOAD_LIMIT} MB. It is not kept."
TIMING_HELP = "Which stretch of the file becomes the clip."
FPS_HELP = (
    f"Frames per second of the clip. V-JEPA was trained on every fourth frame: {DEFAULT_FPS:g}. "
    "A lower rate covers more time in the same 16 frames."
)


def choose(state: State) -> Clip:
    """Draws the row and returns the chosen clip; one that cannot be read leaves the last one."""
    take_pick(state)
    clip = load(state)
    with st.container(horizontal=True, vertical_alignment="center", key="clips"):
        components.picker(tiles(state, clip), key=PICKER)
        upload_menu(state)
        timing_menu(state)
        model_menu(state)
    return clip


def take_pick(state: State) -> None:
    """Takes over a click on a tile; each click on the world's draws another world."""
    pick = (st.session_state.get(PICKER) or {}).get("pick")
    if pick == "world":
        state.choose(Source("world", str(secrets.randbelow(WORLD_SEEDS))))
    elif pick == "upload" and state.upload:
        state.choose(state.upload.source)
    elif pick:
        state.choose(Source("bundled", pick))


def load(state: State) -> Clip:
    """The chosen clip; where it cannot be read, a notice and the clip before it."""
    try:
        clip = load_clip(state.source, state.model, state.upload)
    except InputError as error:
        state.notice = str(error)
        return step_back(state)
    state.last_good, state.good_upload = state.source, state.upload
    return clip


def step_back(state: State) -> Clip:
    """The last clip that could be read; the first one, should that be gone."""
    state.source, state.upload = state.last_good, state.good_upload
    try:
        return load_clip(state.source, state.model, state.upload)
    except InputError:
        state.source = state.last_good = Source()
        return load_clip(state.source, state.model)


def tiles(state: State, clip: Clip) -> list[components.Tile]:
    """One tile per clip to choose from; the bundled ones look the same for every model."""
    found = []
    for name in bundled_clips():
        source = Source("bundled", name)
        chosen = state.source.kind == "bundled" and state.source.name == name
        found.append(components.Tile(name, title(name), load_clip(source, DEMO), chosen))
    world = state.source.kind == "world"
    found.append(components.Tile("world", "world", clip if world else None, world, WORLD_HELP))
    if state.upload:
        upload = load_clip(state.upload.source, state.model, state.upload)
        chosen = state.source.kind == "upload"
        found.append(components.Tile("upload", upload.title, upload, chosen))
    return found


def upload_menu(state: State) -> None:
    """A popover that takes the visitor's file."""
    with st.popover("Upload", icon=":material/upload:", help=UPLOAD_HELP):
        st.file_uploader(
            "Video or image",
            UPLOAD_TYPES,
            key=UPLOADER,
            max_upload_size=UPLOAD_LIMIT,
            on_change=take_upload,
            args=(state,),
        )


def take_upload(state: State) -> None:
    """Chooses the file that was just uploaded."""
    file = st.session_state[UPLOADER]
    if file is not None:
        state.upload = Upload(file.name, file.getvalue())
        state.choose(state.upload.source)


def timing_menu(state: State) -> None:
    """A popover with the start and the rate of the clip."""
    source = state.source
    with st.popover(
        "Timing", icon=":material/timer:", help=TIMING_HELP, disabled=source.kind == "world"
    ):
        key = f"{source.kind}_{source.name}"
        keys = {"start": f"start_{key}", "fps": f"fps_{key}"}
        again = {"on_change": take_timing, "args": (state, keys)}
        st.number_input("start, s", 0.0, value=source.start, step=0.5, key=keys["start"], **again)
        st.number_input(
            "frames per second",
            0.5,
            60.0,
            value=source.fps,
            placeholder=f"{DEFAULT_FPS:g}",
            step=0.5,
            key=keys["fps"],
            help=FPS_HELP,
            **again,
        )


def take_timing(state: State, keys: dict[str, str]) -> None:
    """Reads the same file from another time or at another rate."""
    start, fps = (st.session_state[keys[name]] for name in ("start", "fps"))
    state.choose(state.source.at(start, fps))
