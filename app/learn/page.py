"""Page "Learn": what a JEPA is, in short lessons on live figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.learn import (
    lesson_claims,
    lesson_collapse,
    lesson_masks,
    lesson_median,
    lesson_pixels,
    lesson_predictor,
    lesson_surprise,
)
from app.workbench import components, settings
from app.workbench.bench import query, told_in_a_sentence
from app.workbench.links import visitor
from app.workbench.models import DEMO
from app.workbench.rooms import model_room

STYLE = Path(__file__).with_name("learn.css")
LOADING = ":material/hourglass: The model is loading: the lesson begins as soon as it is here."


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    Attributes:
        title: in the row of lessons.
        draw: tells it, and shows its figure.
        needs_model: whether the figure asks the bundled model.
    """

    title: str
    draw: Callable[[], None]
    needs_model: bool = True


LESSONS = {
    "masks": Lesson("Tokens and masks", lesson_masks.lesson),
    "predictor": Lesson("The predictor", lesson_predictor.lesson),
    "collapse": Lesson("Why not a constant", lesson_collapse.lesson, needs_model=False),
    "median": Lesson("L1 and the median", lesson_median.lesson, needs_model=False),
    "pixels": Lesson("Features or pixels", lesson_pixels.lesson),
    "surprise": Lesson("Surprise", lesson_surprise.lesson),
    "claims": Lesson("What a decoder may claim", lesson_claims.lesson),
}
"""In the order of reading; a link names them so."""
FIRST = next(iter(LESSONS))


def page() -> None:
    """The row of lessons, and the one that is chosen."""
    st.html(STYLE)
    name = choose()
    if LESSONS[name].needs_model and not model_room().ready:
        st.markdown(LOADING)
        await_model()
        return
    with st.container(key=f"lesson_{name}"):
        tell(name)


def choose() -> str:
    """The lesson: the one that was clicked, or that the link names."""
    titles = {
        name: f"{number}. {one.title}" for number, (name, one) in enumerate(LESSONS.items(), 1)
    }
    look = {"label": "Lesson", "key": "lesson", "label_visibility": "collapsed"}
    return settings.segments(st, "lesson", list(LESSONS), FIRST, format_func=titles.get, **look)


@st.fragment
def tell(name: str) -> None:
    """One lesson; whatever is set in it runs it again."""
    with told_in_a_sentence():
        LESSONS[name].draw()
    components.tell_query(query(visitor()))


@st.fragment(run_every=1.0)
def await_model() -> None:
    """Loads the bundled model once the browser has painted, and runs the page again then."""
    state, room = visitor(), model_room(DEMO)
    if state.painted:
        room.open()
    state.painted = True
    if room.ready:
        st.rerun()
