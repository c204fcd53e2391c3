"""The visitor's state as the query of a link, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from app.workbench import models
from app.workbench.clip import FPS, ClipAddress, exact, is_world
from app.workbench.figures import from_link, to_link
from app.workbench.models import ModelAddress
from app.workbench.session import MAPS, SEEDS, STEPS, VIEWS, State, start_state
from vjepa.data.clips import bundled_clips
from vjepa.errors import InputError

SETTINGS = (
    *("layer", "fit", "points", "axes", "colour", "predictions"),
    *(
        "denoising",
        "centred",
        "probe",
        "probed",
        "labels",
        "happens",
        "post",
        "scene",
        "clips",
        "cases",
    ),
    *("lesson", "share", "draw", "at", "noise", "stop", "average", "guess", "often", "far"),
    *("cut", "moment", "seed_of", "static"),
)
"""Settings of pages that a link may hold; the pages know what each can be."""
LONGEST = 20
"""Letters of a setting."""


def visitor() -> State:
    """This visitor's state; on the first run, the one that the link describes."""
    if "visitor" not in st.session_state:
        state = st.session_state.visitor = start_state()
        try:
            read_query(st.query_params, state)
        except InputError as error:
            state.notice = str(error)
    return st.session_state.visitor


def follow_history(state: State) -> None:
    """Goes where the browser's Back and Forward lead.

    Only then does its address say what the visitor wants. At other times it may be that of a clip
    that he has left: the browser hears of ours when we have drawn it, and Streamlit's page sends on
    and on the one that Back led to.
    """
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not context.is_history_navigation:
        return
    asked = st.query_params.to_dict()
    if asked.get("clip", state.linked_clip) != state.linked_clip:
        state.forget_settings()
        try:
            read_query(asked, state)
        except InputError as error:
            state.notice = str(error)


def to_query(state: State) -> dict[str, str]:
    """What a link has to say; settings at their default are left out."""
    address, model = state.address, state.model.address
    query = {}
    if model.name != models.default().name:
        query["model"] = model.name
    if model.num_frames:
        query["frames"] = str(model.num_frames)
    query |= {"clip": state.linked_clip, "mask": to_link(state.mask)}
    if address.start:
        query["start"] = exact(address.start)
    if address.fps:
        query["fps"] = exact(address.fps)
    if state.seeds[0]:
        query["seed"] = str(state.seeds[0])
    query["steps"] = str(state.steps)
    if state.mask_token is not None:
        query["token"] = str(state.mask_token)
    if state.neighbours:
        query["view"] = VIEWS[1]
    if state.pixel_maps:
        query["errors"] = MAPS[1]
    if state.selection:
        query["select"] = to_link(_chosen(state))
    return query | state.settings


def read_query(query: Mapping[str, str], state: State) -> None:
    """Sets the state that a link describes; what belongs to a model's grid waits for that model.

    Only what the menus offer is taken.

    Raises:
        InputError: a part of the link means nothing, or asks for what this server does not offer;
            the page is what it would be without it.
    """
    wrong = _take(CLIP_PARTS, query, state)
    state.settings = {name: query[name][:LONGEST] for name in SETTINGS if name in query}
    try:
        model = _model(query)
        models.check(model)
    except InputError as error:
        wrong.append(error)
        model = models.default()
    if model != state.model.address:
        state.open(model)
        state.link = {name: query[name] for name in query if name in MODEL_PARTS}
    else:
        wrong += _take(MODEL_PARTS, query, state)
    if wrong:
        raise wrong[0]


def read_rest(query: Mapping[str, str], state: State) -> None:
    """Takes over what waited for its model, or what fits where that could not be opened.

    Raises:
        InputError: as for `read_query`.
    """
    if wrong := _take(MODEL_PARTS, query, state):
        raise wrong[0]


def _take(
    parts: Mapping[str, Callable[[Mapping[str, str], State], None]],
    query: Mapping[str, str],
    state: State,
) -> list[InputError]:
    """Takes over parts of a link, each by itself; what is wrong with them."""
    wrong = []
    for name, take in parts.items():
        try:
            if name in query:
                take(query, state)
        except InputError as error:
            wrong.append(error)
    return wrong


def _model(query: Mapping[str, str]) -> ModelAddress:
    frames = _number(query, "frames", int) if "frames" in query else None
    return ModelAddress(models.own_name(query.get("model") or models.default().name), frames)


def _take_clip(query: Mapping[str, str], state: State) -> None:
    kind, _, name = query["clip"].partition("-")
    known = {"bundled": name in bundled_clips(), "world": is_world(name), "upload": bool(name)}
    if not known.get(kind):
        raise InputError("This link names no clip that is here: pick one from the row.")
    state.upload = next((one for one in state.brought if one.address.name == name), state.upload)
    state.choose(ClipAddress(kind, name))
    if kind != "upload":
        state.last_good = state.address  # should its start be past the end


def _take_start(query: Mapping[str, str], state: State) -> None:
    state.address = replace(state.address, start=_number(query, "start", float))


def _take_fps(query: Mapping[str, str], state: State) -> None:
    fps, (least, most) = _number(query, "fps", float), FPS
    if not least <= fps <= most:
        raise InputError(f"A clip can have {least:g} to {most:g} frames a second: choose anew.")
    state.address = replace(state.address, fps=fps)


def _take_mask(query: Mapping[str, str], state: State) -> None:
    state.send_mask(from_link(query["mask"], state.mask.shape))


def _take_seed(query: Mapping[str, str], state: State) -> None:
    first = _number(query, "seed", int)
    state.seeds = tuple(range(first, first + SEEDS))


def _take_steps(query: Mapping[str, str], state: State) -> None:
    steps = _number(query, "steps", int)
    if steps not in STEPS:
        raise InputError(f"This link asks for {steps} steps: choose one of {STEPS} on the page.")
    state.steps = steps


def _take_token(query: Mapping[str, str], state: State) -> None:
    token, count = _number(query, "token", int), state.model.config.num_mask_tokens
    if token >= count:
        raise InputError(f"The model has {count} mask tokens, no number {token}: choose one there.")
    state.mask_token = token


def _take_view(query: Mapping[str, str], state: State) -> None:
    state.neighbours = _second(query, "view", VIEWS)


def _take_errors(query: Mapping[str, str], state: State) -> None:
    state.pixel_maps = _second(query, "errors", MAPS)


def _take_selection(query: Mapping[str, str], state: State) -> None:
    state.select(np.flatnonzero(from_link(query["select"], state.mask.shape)).tolist())


CLIP_PARTS = {"clip": _take_clip, "start": _take_start, "fps": _take_fps}
MODEL_PARTS = {
    "mask": _take_mask,
    "seed": _take_seed,
    "steps": _take_steps,
    "token": _take_token,
    "view": _take_view,
    "errors": _take_errors,
    "select": _take_selection,
}
"""What a link can say, in the order in which it is taken."""


def _chosen(state: State) -> np.ndarray:
    """The selected tokens on the grid."""
    chosen = np.zeros(state.mask.size, bool)
    chosen[list(state.selection)] = True
    return chosen.reshape(state.mask.shape)


def _second(query: Mapping[str, str], name: str, choices: tuple[str, str]) -> bool:
    """Whether the link asks for the second of two choices."""
    if query[name] not in choices:
        raise InputError(f"{name} in this link is unknown: choose one of {choices} on the page.")
    return query[name] == choices[1]


def _number(query: Mapping[str, str], name: str, kind: type) -> int | float:
    try:
        value = kind(query[name])
    except ValueError as error:
        raise InputError(f"{name} in this link is no number: ask for the link again.") from error
    if not 0 <= value < 2**31:
        raise InputError(f"{name} in this link is out of range: ask for the link again.")
    return value
