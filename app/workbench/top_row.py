"""The row on top: which clip, from when, how fast, and which model looks at it: its menu too."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from app.workbench import components, models, session
from app.workbench.catalogue import catalogue
from app.workbench.clip import (
    DEFAULT_FPS,
    FPS,
    HARDEST,
    UPLOAD_LIMIT,
    UPLOAD_TYPES,
    WORLD_SEEDS,
    Clip,
    ClipAddress,
    Upload,
    find_world,
    load_clip,
    world_name,
    world_scene,
)
from app.workbench.models import DEMO, Model, ModelAddress
from app.workbench.session import State
from vjepa.errors import InputError

PICKER = "picker"
UPLOADER = "uploader"
WORLD_HELP = (
    "A clip drawn by the demo world: objects over panoramas. Click again for another, and choose "
    "what it shows under Scene."
)
UPLOAD_HELP = f"Your own video, animation or photo, up to {UPLOAD_LIMIT} MB. It is not kept."
ANY = "any"
SCENE_HELP = (
    "The drawn world: one thing acts, which no model was trained on. All levels draw the same "
    "scenes, the higher ones with more about them. Draw another with these:"
)
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
        (scene_menu if state.address.kind == "world" else timing_menu)(state)
        model_menu(state)
    return clip


def take_pick(state: State) -> None:
    """Takes over a click on a tile; each click on the world's draws another world."""
    pick = (st.session_state.get(PICKER) or {}).get("pick")
    if pick == "world":
        state.choose(ClipAddress("world", world_name(HARDEST, secrets.randbelow(WORLD_SEEDS))))
    elif not isinstance(pick, str) or not pick:
        return
    elif pick.startswith("world-"):
        state.choose(ClipAddress("world", pick.removeprefix("world-")))
    elif pick.startswith("upload-"):
        for upload in state.brought:
            if upload.address.id == pick:
                state.bring(upload)
    else:
        state.choose(ClipAddress("bundled", pick))


def load(state: State) -> Clip:
    """The chosen clip; where it cannot be read, a notice and the clip before it."""
    try:
        clip = load_clip(state.address, state.model, state.upload)
    except InputError as error:
        state.notice = str(error)
        if state.upload is not state.good_upload:
            state.brought = [one for one in state.brought if one is not state.upload]
        return step_back(state)
    state.last_good, state.good_upload = state.address, state.upload
    return clip


def step_back(state: State) -> Clip:
    """The last clip that could be read; the first one, should that be gone."""
    state.address, state.upload = state.last_good, state.good_upload
    try:
        return load_clip(state.address, state.model, state.upload)
    except InputError:
        state.address = state.last_good = ClipAddress()
        return load_clip(state.address, state.model)


def tiles(state: State, clip: Clip) -> list[components.Tile]:
    """One tile per clip to choose from; the bundled ones look the same for every model."""
    found = []
    for name, entry in catalogue().items():
        address = ClipAddress("bundled", name)
        chosen = state.address.kind == "bundled" and state.address.name == name
        found.append(components.Tile(name, entry.title, load_clip(address, DEMO), chosen))
    found.append(components.Tile("world", "new world", None, False, WORLD_HELP))
    for world in state.worlds:
        drawn, chosen = load_clip(world, state.model), state.address == world
        found.append(components.Tile(world.id, drawn.title, drawn, chosen))
    for upload in list(state.brought):
        if brought := read_again(state, clip, upload):
            chosen = brought is clip
            found.append(components.Tile(upload.address.id, brought.title, brought, chosen))
    return found


def read_again(state: State, clip: Clip, upload: Upload) -> Clip | None:
    """A visitor's file for its tile; what is not read any more, by another model say, goes."""
    if state.address.name == upload.address.name:
        return clip
    try:
        return load_clip(upload.address, state.model, upload)
    except InputError as error:
        state.notice = str(error)
        state.brought.remove(upload)
        if state.upload is upload:
            state.upload = state.good_upload = None
        return None


def upload_menu(state: State) -> None:
    """A popover that takes the visitor's file."""
    key = f"upload_menu_{state.arrivals}"  # another menu, a closed one, once a file has arrived
    with st.popover("Upload", icon=":material/upload:", key=key):
        st.caption(UPLOAD_HELP)
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
    file = session.answer_of(UPLOADER)
    if file is not None:
        state.bring(Upload(file.name, file.getvalue()))


def timing_menu(state: State) -> None:
    """A popover with the start and the rate of the clip."""
    address = state.address
    with st.popover("Timing", icon=":material/timer:"):
        st.caption(TIMING_HELP)
        key = f"{address.kind}_{address.name}"
        keys = {"start": f"start_{key}", "fps": f"fps_{key}"}
        again = {"on_change": take_timing, "args": (state, keys)}
        st.number_input("start, s", 0.0, value=address.start, step=0.5, key=keys["start"], **again)
        st.number_input(
            "frames per second",
            *FPS,
            value=address.fps,
            placeholder=f"{DEFAULT_FPS:g}",
            step=0.5,
            key=keys["fps"],
            help=FPS_HELP,
            **again,
        )


def take_timing(state: State, keys: dict[str, str]) -> None:
    """Reads the same file from another time or at another rate."""
    start, fps = (session.answer_of(keys[name]) for name in ("start", "fps"))
    if start is not None:
        state.choose(state.address.at(start, fps))


def scene_menu(state: State) -> None:
    """A popover with what the next clip of the drawn world is to show."""
    from vjepa.world.world import CATEGORIES, LEVELS, MOTIONS

    level, _ = world_scene(state.address.name)
    things, events = ((ANY, *names) for names in (CATEGORIES, MOTIONS))
    menus = {"level": range(len(LEVELS)), "thing": things, "event": events}
    with st.popover("Scene", icon=":material/public:"), st.container(width=WIDTH):
        st.caption(SCENE_HELP)
        st.selectbox("level", menus["level"], level, LEVELS.__getitem__, key="world_level")
        st.selectbox("thing", things, format_func=in_words, key="world_thing")
        st.selectbox("event", events, format_func=in_words, key="world_event")
        st.button("Draw", icon=":material/casino:", on_click=draw_world, args=(state, menus))


def in_words(name: str) -> str:
    """A class name for people."""
    return name.replace("_", " ")


def draw_world(state: State, menus: dict[str, Sequence]) -> None:
    """Chooses another clip of the drawn world, as it was asked for."""
    level, *wanted = (session.answer_of(f"world_{name}", menu) for name, menu in menus.items())
    if level is not None:
        thing, event = (None if name == ANY else name for name in wanted)
        state.choose(find_world(level, thing, event))


HELP = "The model that predicts: choose another one, see its size and what one token covers."
CHOICE_HELP = (
    "The bundled model, those downloaded with `python -m vjepa download NAME`, and those "
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
WIDTH = 380
ABOUT_DEMO = """**V-JEPA, physics**: small, trained on the physics world, some real video and
drawn clips. On real ones it knows colours and coarse motion."""


def model_menu(state: State) -> None:
    """A popover with the models to choose from, a path, and the model's shape."""
    menu = st.popover(state.model.address.title, icon=":material/neurology:")
    with menu.container(width=WIDTH):
        st.caption(HELP)
        choice(state)
        if models.paths_allowed():
            path(state)
        about(state.model)


def choice(state: State) -> None:
    """The models that are known."""
    st.session_state.model = state.opening or state.model.address
    st.selectbox(
        "model",
        choices(state),
        format_func=ModelAddress.title.fget,  # raises for a word, which has a title() too
        key="model",
        on_change=take_model,
        args=(state,),
        help=CHOICE_HELP,
    )


def take_model(state: State) -> None:
    """Opens the model that was chosen."""
    if address := session.answer_of("model", choices(state)):
        state.open(address)


def choices(state: State) -> list[ModelAddress]:
    """The server's own, the bundled one, the downloaded, and what the visitor opened."""
    names = [models.default().name, models.BUNDLED, *models.downloaded()]
    every = [*map(ModelAddress, names), *state.opened, state.opening or state.model.address]
    return list(dict.fromkeys(every))


def path(state: State) -> None:
    """Opens what the visitor typed."""
    with st.form("open_model", border=False):
        st.text_input(
            "or a file or folder", key="model_path", placeholder="vitl16.pth.tar", help=PATH_HELP
        )
        st.selectbox(
            "frames",
            models.FRAMES,
            format_func=lambda count: str(count or "as published"),
            key="model_frames",
            help=FRAMES_HELP,
        )
        st.form_submit_button("Open", on_click=open_path, args=(state,))


def open_path(state: State) -> None:
    """The typed path becomes the model, as soon as it is loaded."""
    typed = (session.answer_of("model_path") or "").strip().strip("'\"")
    if not typed:
        return
    try:
        path = str(Path(typed).expanduser())
        address = ModelAddress(path, session.answer_of("model_frames", models.FRAMES) or None)
        models.check(address)
        state.open(address)
    except RuntimeError:  # ~ is nobody's home
        state.notice = f"{typed} is in nobody's home folder: type the whole path."
    except InputError as error:
        state.notice = str(error)


def about(model: Model) -> None:
    """The model's shape."""
    shape = model.config
    t, h, w = shape.grid
    predictor = f"{shape.predictor_depth} layers, {shape.predictor_embed_dim} wide"
    title = ABOUT_DEMO if model == models.DEMO else f"**{model.address.title}**"
    st.markdown(
        f"""
{title}

- clip: {shape.num_frames} frames of {shape.image_size} x {shape.image_size} pixels
- token: {shape.tubelet_size} frames x {shape.patch_size} x {shape.patch_size} pixels
- grid: {t} x {h} x {w} (time, height, width) = {shape.num_tokens} tokens
- encoder: {shape.depth} layers, {shape.embed_dim} wide
- predictor: {predictor if model.predicts else "none in its file"}
"""
    )
