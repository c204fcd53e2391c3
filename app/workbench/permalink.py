"""The visitor's state as the query of a link, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.workbench import models
from app.workbench.clip import ClipAddress, exact
from app.workbench.mask_bits import from_link, to_link
from app.workbench.models import ModelAddress
from app.workbench.session import MAPS, SEEDS, STEPS, VIEWS, State
from vjepa.errors import InputError

KINDS = ("bundled", "world", "upload")


def to_query(state: State) -> dict[str, str]:
    """What a link has to say; settings at their default are left out."""
    address, model = state.address, state.model.address
    query = {}
    if model.name != models.default().name:
        query["model"] = model.name
    if model.num_frames:
        query["frames"] = str(model.num_frames)
    query |= {"clip": f"{address.kind}-{address.name}", "mask": to_link(state.mask)}
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
    return query


def read_query(query: Mapping[str, str], state: State) -> None:
    """Sets the state that a link describes; what belongs to a model's grid waits for that model.

    Raises:
        InputError: a part of the link means nothing, or asks for a model that this server does not
            open; the parts before it are taken.
    """
    if "clip" in query:
        state.address = _clip_address(query)
    model = _model(query)
    if model != state.model.address:
        models.check(model)
        state.open(model)
        state.link = dict(query)
        return
    if "mask" in query:
        state.send_mask(from_link(query["mask"], state.mask.shape))
    if "seed" in query:
        first = _number(query, "seed", int)
        state.seeds = tuple(range(first, first + SEEDS))
    if "steps" in query:
        state.steps = _steps(query)
    if "token" in query:
        state.mask_token = _token(query, state)
    if "view" in query:
        state.neighbours = _second(query, "view", VIEWS)
    if "errors" in query:
        state.pixel_maps = _second(query, "errors", MAPS)
    if "select" in query:
        state.select(np.flatnonzero(from_link(query["select"], state.mask.shape)).tolist())


def _model(query: Mapping[str, str]) -> ModelAddress:
    frames = _number(query, "frames", int) if "frames" in query else None
    return ModelAddress(query.get("model") or models.default().name, frames)


def _token(query: Mapping[str, str], state: State) -> int:
    token, count = _number(query, "token", int), state.model.config.num_mask_tokens
    if token >= count:
        raise InputError(f"The model has {count} mask tokens, no number {token}: choose one there.")
    return token


def _chosen(state: State) -> np.ndarray:
    """The selected tokens on the grid."""
    chosen = np.zeros(state.mask.size, bool)
    chosen[list(state.selection)] = True
    return chosen.reshape(state.mask.shape)


def _clip_address(query: Mapping[str, str]) -> ClipAddress:
    kind, _, name = query["clip"].partition("-")
    if kind not in KINDS or not name:
        raise InputError("This link names no clip: pick one from the row.")
    start = _number(query, "start", float) if "start" in query else 0.0
    fps = _number(query, "fps", float) if "fps" in query else None
    return ClipAddress(kind, name, start, fps)


def _steps(query: Mapping[str, str]) -> int:
    steps = _number(query, "steps", int)
    if steps not in STEPS:
        raise InputError(f"This link asks for {steps} steps: choose one of {STEPS} on the page.")
    return steps


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
