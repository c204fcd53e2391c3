"""Lesson "Surprise": a thing is cut out of a scene, and where the model notices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.learn import charts, pictures
from app.learn.pictures import Movie
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.catalogue import default_mask, first_clip
from app.workbench.clip import Clip
from app.workbench.clip_features import Errors, future_errors
from app.workbench.memory import kept
from app.workbench.models import DEMO

SCENES, FIRST = tuple(range(8)), 4
"""Numbers of scenes of the drawn world, as the page "Surprise" counts them, and which is first."""
COVERED = 0.25
"""Share of a token that the thing covers, from which on it is one of its places."""
GOES_ON, CUT, NEVER = "goes on", "is cut out", "was never there"

STORY = """
**A model that predicts can be surprised.** At each moment it predicts the next four from what came
before; then they come, and how far they are from the predictions, above all from the nearest, is
the *surprise*. No label says what is possible: the clip itself does.

Below, a thing is **cut out** from some moment on: the same scene, drawn without it. No single frame
is strange; strange is only that the thing is gone. Drag the moment:
"""
FIGURE = """
The chart follows the *places where the thing would be*. An empty wall is easy to predict, so its
error is low. That is the dotted line: the same scene, in which the thing **never** was. Whatever
lies above it once the thing is gone is expectation that was not met.
"""
VERDICT = """
From moment {moment} on, at the thing's places: **{cut:.2f}** when it is cut out, **{never:.2f}**
where it never was, {goes_on:.2f} when it goes on. {said}
"""
NOTICED = (
    "The missing thing surprises **{factor:.1f} times** as much as a wall that was always empty."
)
MISSED = "In this scene the model does **not** miss it."
CAVEAT = """
Yet a thing that *goes on* often surprises more than one that is gone: for a model this small it is
hard to foresee exactly how it goes on. So a single scene proves nothing; the page "Surprise" counts
hundreds of pairs that are made of the very same frames.
"""
ASKED = "Why is the surprise not simply the change from one frame to the next?"
ANSWER = """
Because change can be expected, and standing still can be a surprise. A ball that rolls on changes
many pixels and should surprise nobody; one that stops in mid-air changes none. Behind a screen
nothing changes either way, and only who kept the thing in mind can miss it when the screen is past.
On the page "Surprise" the *change of pixels* is the control beside the model.
"""


@dataclass(frozen=True)
class CutScene:
    """A scene three times.

    Attributes:
        clips: by what becomes of the thing.
        places: the tokens where it is while it goes on.
    """

    clips: dict[str, Clip]
    places: Bool[np.ndarray, "t h w"]


def lesson() -> None:
    """The story, the cut, and what is noticed."""
    st.markdown(STORY)
    number, moment = knobs(DEMO.config.grid[0])
    scene = cut_scene(number, moment)
    found = {what: future_errors(clip.id, clip) for what, clip in scene.clips.items()}
    show(scene, found)
    st.markdown(FIGURE)
    lines = {what: at_places(errors, scene.places) for what, errors in found.items()}
    st.plotly_chart(charts.surprise_lines(lines, moment), key="cut_lines", config=BARE)
    st.markdown(verdict(lines, moment) + CAVEAT)
    question(ASKED, ANSWER)
    clip = lesson_clip(first_clip())
    mask = default_mask(clip.bundled, DEMO.config.grid)
    link = {"happens": "vanish", "post": False, "scene": number}
    onward("This scene, possible and impossible", "surprise", clip, mask, **link)


def knobs(steps: int) -> tuple[int, int]:
    """The scene's number, and the moment from which the thing is gone, from 1."""
    left, right = st.columns(2, gap="medium")
    look = {"label": "scene", "key": "lesson_scene"}
    number = settings.segments(left, "cut", SCENES, FIRST, **look)
    look = {"label": "gone from moment", "key": "lesson_moment"}
    moments = tuple(range(3, steps + 1))
    return number, settings.slider(right, "moment", moments, 5, **look)


@kept
def cut_scene(number: int, moment: int) -> CutScene:
    """A drawn scene, the same without its actor from a moment on, and without it at all."""
    import torch

    from vjepa.world.violations import POSTS_FROM, draw_pairs
    from vjepa.world.world import World

    config = DEMO.config
    world = World(POSTS_FROM, config.image_size, config.num_frames, split="test")
    drawn = draw_pairs(world, "vanish", False, 1, torch.Generator().manual_seed(number))
    there, empty = (frames.numpy() for frames in drawn.possible[0])
    first = (moment - 1) * config.tubelet_size
    versions = {GOES_ON: there, CUT: np.concatenate([there[:first], empty[first:]]), NEVER: empty}
    clips = {
        what: Clip(f"lesson-{number}-{moment}-{what}", what, frames)
        for what, frames in versions.items()
    }
    t, h, w = config.grid
    differs = (there != empty).any(-1)
    shares = differs.reshape(t, config.tubelet_size, h, config.patch_size, w, config.patch_size)
    return CutScene(clips, shares.mean((1, 3, 5)) > COVERED)


def show(scene: CutScene, found: dict[str, Errors]) -> None:
    """The scene as it goes on and cut, and where each surprises."""
    shown = []
    for what in (GOES_ON, CUT):
        clip, errors = scene.clips[what], found[what]
        shown.append(Movie(f"it {what}", clip.frames, f"The scene; the thing {what}."))
        heat = pictures.heat(clip.frames, errors.values, errors.scale)
        told = f"Surprise, place by place, where the thing {what}: bright is much."
        shown.append(Movie("surprise", heat, told, "bright is much"))
    pictures.movies(shown, "cut")


def at_places(errors: Errors, places: Bool[np.ndarray, "t h w"]) -> Float[np.ndarray, " t"]:
    """Mean surprise of each time step where the thing would be; NaN where it is nowhere."""
    chosen = np.where(places, errors.values, 0).sum((1, 2))
    count = places.sum((1, 2))
    known = (count > 0) & ~np.isnan(errors.values).all((1, 2))
    return np.where(known, chosen / np.maximum(count, 1), np.nan)


def verdict(lines: dict[str, Float[np.ndarray, " t"]], moment: int) -> str:
    """How much is noticed, in a sentence."""
    after = {what: float(np.nanmean(line[moment - 1 :])) for what, line in lines.items()}
    factor = after[CUT] / after[NEVER]
    said = NOTICED.format(factor=factor) if factor > 1.1 else MISSED
    numbers = {"cut": after[CUT], "never": after[NEVER], "goes_on": after[GOES_ON]}
    return VERDICT.format(moment=moment, said=said, **numbers)
