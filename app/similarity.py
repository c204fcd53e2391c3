"""Page "Similarity": what resembles a patch, where it goes, an object carried through the clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.workbench import clip_features, components
from app.workbench import settings as kept_settings
from app.workbench.bench import views, workbench
from app.workbench.clip import Clip
from app.workbench.session import State
from app.workbench.things import actor_tokens

COSINE_TIP = (
    "Cosine similarity of every token's features to those of the chosen patch: bright is alike. "
    "Outlined: its best match in every time step, at most one patch from the last."
)
OBJECT_TIP = (
    "The chosen patches, carried through the clip: each token takes the average label of the five "
    "most similar tokens nearby in the time steps before it. Bright belongs to the object."
)
TRUTH_TIP = " Outlined: the patches of which the drawn actor truly covers most."
LAYER_HELP = (
    "Features after this block of the target encoder. Early ones are closer to colours and edges, "
    "the last is what the predictor learned to predict."
)
CENTRED_HELP = (
    "Takes away the mean feature of the clip before comparing. All tokens share it; beside it, "
    "everything looks alike and the best match of a patch is the same place."
)
J_HELP = (
    "**J** is the overlap of the carried object and the true one: intersection over union of their "
    "patches, averaged over the other time steps. 1 is perfect. The world drew this clip, so it "
    "knows the truth."
)
HINT = "Click a patch, in the clip or in a map, or drag over a thing: now it is {default}"
FAINT = 0.05
"""Labels below this are not painted: the clip shows there."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, as the maths wants it.

    Attributes:
        tokens: chosen patches of one time step.
        token: the most central of them: the one that is compared and followed.
        step: their time step.
    """

    tokens: Bool[np.ndarray, "h w"]
    token: int
    step: int


@dataclass(frozen=True)
class Found:
    """What the features say about a choice.

    Attributes:
        cosine: similarity to the token, -1..1.
        track: its best match in every time step.
        labels: how much of every token belongs to the object, 0..1.
    """

    cosine: Float[np.ndarray, "t h w"]
    track: frozenset[int]
    labels: Float[np.ndarray, "t h w"]


def page() -> None:
    """The page."""
    workbench(draw, picks=True)


def draw(state: State, clip: Clip) -> None:
    """The settings, the two views, and what they come to."""
    features = clip_features.layers_of(clip)
    layer, centred = settings(len(features))
    truth = actor_tokens(clip)
    choice = choose(state.selection, state.mask.shape, truth)
    found = follow(features[layer - 1], choice, state.mask.shape, centred)
    views(state, clip, [cosine_view(found), object_view(found, truth)])
    st.markdown(summary(state, choice, found, truth), help=None if truth is None else J_HELP)


def settings(count: int) -> tuple[int, bool]:
    """Which layer, and whether the clip's mean is taken away."""
    with st.container(horizontal=True, vertical_alignment="center", key="settings"):
        st.markdown("layer", help=LAYER_HELP, width="content")
        layer = clip_features.choice(st, count, "similarity_layer")
        look = {"label": "centred", "key": "similarity_centred", "help": CENTRED_HELP}
        centred = kept_settings.toggle(st, "centred", True, **look)
    return layer, centred


def choose(
    selection: frozenset[int],
    grid: tuple[int, int, int],
    truth: Bool[np.ndarray, "t h w"] | None = None,
) -> Choice:
    """The selected tokens, at the time step that has most of them.

    Where nothing is selected, the true object stands in, or else the middle patch.
    """
    tokens = np.zeros(grid, bool)
    if selection:
        tokens.flat[list(selection)] = True
    elif truth is not None and truth.any():
        tokens = truth
    else:
        tokens[tuple(size // 2 for size in grid)] = True
    step = int(tokens.sum((1, 2)).argmax())
    places = np.argwhere(tokens[step])
    central = places[np.linalg.norm(places - places.mean(0), axis=1).argmin()]
    return Choice(tokens[step], int(np.ravel_multi_index((step, *central), grid)), step)


def follow(
    features: Float[np.ndarray, "N D"], choice: Choice, grid: tuple[int, int, int], centred: bool
) -> Found:
    """Compares, tracks and propagates by the features of one layer."""
    import torch

    from vjepa.analysis import following

    ways = following.directions(torch.from_numpy(features), centred)
    track = following.track(ways, choice.token, grid)
    labels = following.propagate(ways, torch.from_numpy(choice.tokens), choice.step, grid)
    cosine = following.cosine(ways, choice.token).view(grid)
    return Found(cosine.numpy(), frozenset(track.tolist()), labels.numpy())


def cosine_view(found: Found) -> components.View:
    """The similarity to the token, and its track."""
    return components.View(
        "cosine",
        "similarity",
        COSINE_TIP,
        found.cosine,
        *(0.0, 1.0, "cosine"),
        outline=found.track,
    )


def object_view(found: Found, truth: Bool[np.ndarray, "t h w"] | None) -> components.View:
    """The propagated object, and the true one where it is known."""
    known = truth is not None
    return components.View(
        "object",
        "object",
        OBJECT_TIP + (TRUTH_TIP if known else ""),
        np.where(found.labels < FAINT, np.nan, found.labels),
        *(0.0, 1.0, "object"),
        outline=frozenset(np.flatnonzero(truth).tolist()) if known else frozenset(),
    )


def summary(
    state: State, choice: Choice, found: Found, truth: Bool[np.ndarray, "t h w"] | None
) -> str:
    """What was chosen, and how well it was followed, as Markdown."""
    count = int(choice.tokens.sum())
    chosen = f"**{count}** {'patch' if count == 1 else 'patches'} of time step {choice.step + 1}"
    parts = [chosen if state.selection else HINT.format(default=chosen)]
    if truth is not None and truth[choice.step][choice.tokens].any():
        score = f"{overlap(found, truth, choice.step):.2f}".removeprefix("0")
        parts.append(f"J **{score}** with the actor")
    elif truth is not None:
        parts.append("select the outlined actor for a score")
    return " · ".join(parts)


def overlap(found: Found, truth: Bool[np.ndarray, "t h w"], step: int) -> float:
    """J of the propagated object."""
    import torch

    from vjepa.analysis import following

    return following.overlap(torch.from_numpy(found.labels), torch.from_numpy(truth), step)
