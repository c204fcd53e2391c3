"""Page "Surprise": what the model did not foresee, in this clip and in impossible ones."""

from __future__ import annotations

import streamlit as st

from app.surprise import impossible
from app.workbench.bench import views, workbench
from app.workbench.clip import Clip
from app.workbench.clip_features import future_errors, masked_errors
from app.workbench.figures import to_link
from app.workbench.links import visitor
from app.workbench.session import State

BARE = {"displayModeBar": False}
CURVE_HELP = (
    "A sliding *hide the future* mask: the model sees the time steps before a moment and predicts "
    "the next four. Surprise is how far the features that come are from the forecasts that were "
    "made of them (mean L1 distance), of which the nearest counts most. The published V-JEPA was "
    "trained on holes in space, never on the future alone."
)
SURPRISE_TIP = (
    "How wrong the up to four predictions of each token are, above all the best, each given only "
    "time steps before it. The first step has none: there is nothing to predict from."
)
ERROR_TIP = "How wrong the predictions of the tokens behind the painted mask are."


def page() -> None:
    """The clip on screen, then possible and impossible ones."""
    workbench(draw)
    if visitor().model.predicts:
        impossible.section(visitor().model)


def draw(state: State, clip: Clip) -> None:
    """Surprise over time, where it is, and the error behind the painted mask."""
    from app.surprise.charts import curves

    future = future_errors(clip.id, clip)
    st.markdown("**Surprise over time**", help=CURVE_HELP)
    line = {clip.title: future.values.mean((1, 2))}
    st.plotly_chart(curves(line), key="surprise_curve", config=BARE, alt="Surprise over time")
    shown = [future.view("surprise", "surprise", SURPRISE_TIP)]
    try:
        masked = masked_errors(clip.id, to_link(state.mask), clip, state.mask)
        shown.append(masked.view("error", "error behind the mask", ERROR_TIP))
    finally:  # a mask that hides nothing takes away its own view only
        views(state, clip, shown)
