"""Lesson "Why it does not collapse": a tiny model trains live, with or without its safeguards."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from jaxtyping import UInt8

from app.learn import charts
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.bench import told_in_a_sentence
from app.workbench.catalogue import default_mask
from app.workbench.live import LiveWork, the_watched
from app.workbench.memory import kept
from app.workbench.queue import visitor_id
from app.workbench.session import ASSETS

if TYPE_CHECKING:
    from vjepa.analysis.collapse import Checkup, Safeguards

SECONDS = 55.0
"""For which a training may go on, its beginning counted in."""
EVERY = 1.0
"""Seconds from one look at it to the next."""
SEEDS = 1_000
RUNS, HISTORY = "collapse_runs", 4
"""Where a visitor's finished trainings are, and how many of them."""
MOMENTS = 4
"""Rows of the picture of features."""
GAP = 4
"""Pixels between its clips."""
TEN = ASSETS / "collapse.json"

STORY = """
**The model makes its own targets.** So there is an easy way to win: an encoder that says the *same
constant* about everything, and a predictor that says that constant. The error is zero, and nothing
is learned. This is the **trivial solution**, and nothing in the error forbids it. The objective:
"""
EQUATION = r"""
\underset{\theta,\,\phi}{\text{minimize}}\quad
\big\lVert\, P_\phi\big(E_\theta(x),\, \Delta_y\big) \;-\; \text{sg}\big(\overline{E}_\theta(y)\big)
\,\big\rVert_1
"""
WORDS = """
x is what is visible, y what is hidden, Δ where it is. Three things stand in the constant's way:

- **sg**, the **stop-gradient**: no gradient flows into the targets, so they are never changed to be
  easier to predict;
- the bar over E, the **EMA**: targets come from a moving average of the encoder, here over about
  its last {lag:.0f} steps, so they lag behind;
- **P**, the **predictor**: it follows the encoder quickly. While it says the best there is to say
  (under L1, the median), the encoder has nothing to gain from saying less.

Take some away and train: a model of {tokens} tokens a clip, {steps} steps, on this machine, now.
"""
HELPS = {
    "stop": "Off: the loss trains the target encoder too.",
    "average": "Off: the targets are the encoder's own, as it is at this step.",
    "guess": "Off: the mean of the visible features is the guess for every hidden token.",
}
FIGURE = """
**Spread** is how much the features differ from clip to clip, in standard deviations: at 0 all clips
look alike to the encoder. **Rank** is in how many directions they differ; where hardly anything
differs, it counts noise. Watch both: a few directions are a collapse too. The **loss** warns of
nothing: the lowest one is a collapse.
"""
VERDICTS = {
    "hold": "The features **hold**: {numbers}.",
    "sink": "The features **sink**: {numbers}.",
    "collapse": "The features have **collapsed**: {numbers}.",
}
UNTOLD = "**Too early to tell**: {numbers}."
"""Where nothing fell, but the training ended before its time."""
NUMBERS = (
    "spread {now.spread:.2f}, rank {now.rank:.0f}; at first {then.spread:.2f} and {then.rank:.0f}"
)
EARLY = " It ended at step {step} of {steps}, as its time was over: this machine is busy."
TABLE_HEAD = """
**Ten seeds of each**, trained beforehand ({command}). *Hold*: at least {holds:.0%} of the first
spread is left; *collapse*: at most {collapses:.0%} of it, or {few:.0%} of the rank; *sink*:
between.

| in place | of {seeds} trainings | spread at the end | loss |
|---|---|---|---|
"""
SHOWN = """
So in this small world **the stop-gradient decides**: without it every training collapses. Without
the EMA all hold, as the predictor is quick enough: here it learns twice as fast as the encoder.
Where both learned equally fast, some of these sank. Without a predictor features sink; without EMA
and predictor they collapse. That is what these seeds showed, and no theorem.
"""
COMMAND = "`python benchmarks/collapse.py`"
ASKED = "The lowest loss belongs to the worst model. What else should one watch?"
ANSWER = """
Something that the trivial solution cannot fake: whether features still tell clips apart. Spread and
rank do that, on clips that were not trained on; so does any probe on the frozen features. The loss
says only how well the game is played, and the encoder makes half of its rules. The constant is not
ruled out by the loss: the way there is blocked, as no gradient leads the targets to it.
"""


def lesson() -> None:
    """The story, three toggles, the training, and what ten seeds did."""
    from vjepa.analysis.collapse import MOMENTUM, SHAPE, STEPS

    st.markdown(STORY)
    st.latex(EQUATION)
    st.markdown(WORDS.format(tokens=SHAPE.num_tokens, steps=STEPS, lag=1 / (1 - MOMENTUM)))
    safeguards = toggles()
    st.button("Train", icon=":material/play_arrow:", key="train", on_click=begin, args=[safeguards])
    work = the_watched().of(visitor_id())
    at_work = work is not None and work.at_work
    st.fragment(watch, run_every=EVERY if at_work else None)(at_work)
    st.markdown(FIGURE)
    ten_seeds()
    question(ASKED, ANSWER)
    clip = lesson_clip("two_collide")
    mask = default_mask(clip.bundled, clip.model.config.grid)
    onward("Features that did not collapse", "embeddings", clip, mask)


def toggles() -> Safeguards:
    """What the next training has in place."""
    from vjepa.analysis.collapse import NAMES, Safeguards

    with st.container(horizontal=True, key="settings"):
        on = [
            settings.toggle(st, name, True, label=title, key=f"keep_{name}", help=told)
            for (name, told), title in zip(HELPS.items(), NAMES, strict=True)
        ]
    return Safeguards(*on)


def begin(safeguards: Safeguards) -> None:
    """Starts a training of this visitor, with a seed of its own."""
    from vjepa.analysis.collapse import trained_alone

    with told_in_a_sentence():
        seed = secrets.randbelow(SEEDS)
        the_watched().start(visitor_id(), trained_alone, safeguards, seed, time.time() + SECONDS)
        st.session_state.training = title(safeguards)


def title(safeguards: Safeguards) -> str:
    """What is missing, for a chart's legend."""
    from vjepa.analysis.collapse import NAMES

    missing = [name for name, on in zip(NAMES, astuple(safeguards), strict=True) if not on]
    return "no " + ", no ".join(missing) if missing else "all in place"


def watch(expected: bool) -> None:
    """How far the training is, beside those before it; the page runs again at its end.

    Args:
        expected: whether one went on when the page was drawn.
    """
    runs = st.session_state.setdefault(RUNS, {})
    work = the_watched().of(visitor_id())
    with told_in_a_sentence():
        ended = work is None or take(work, runs)
        show(runs, not ended)
        if expected and ended:
            the_watched().stop(visitor_id())
            st.rerun()


def take(work: LiveWork, runs: dict[str, list[Checkup]]) -> bool:
    """Takes over what a training has told; whether it is at its end.

    Raises:
        InputError: it could not be done.
    """
    name = st.session_state.training
    if not work.pieces:
        runs.pop(name, None)
    try:
        checks = work.look()
    finally:
        if not work.at_work and not work.pieces:
            the_watched().stop(visitor_id())
    if checks:
        runs.pop(name, None)
        runs[name] = checks  # the newest last
    for older in list(runs)[:-HISTORY]:
        del runs[older]
    return not work.at_work


def show(runs: dict[str, list[Checkup]], at_work: bool) -> None:
    """The curves of all trainings, and the features of the last one."""
    from vjepa.analysis.collapse import STEPS

    last = next(reversed(runs.values()), [])
    if at_work:
        step = last[-1].step if last and st.session_state.training == next(reversed(runs)) else 0
        st.progress(step / STEPS, f"step {step} of {STEPS}")
    elif last:
        st.markdown(said_of(last))
    st.plotly_chart(charts.trainings(runs, STEPS), key="trainings", config=BARE)
    if last:
        picture, steps = features_over_time(last, held_frames())
        st.plotly_chart(charts.features_picture(picture, steps), key="features", config=BARE)


def said_of(checks: Sequence[Checkup]) -> str:
    """What became of the features, in a sentence."""
    from vjepa.analysis.collapse import STEPS, verdict

    step = checks[-1].step
    end, early = verdict(checks), step < STEPS
    told = UNTOLD if early and end == "hold" else VERDICTS[end]
    ended = EARLY.format(step=step, steps=STEPS) if early else ""
    return told.format(numbers=NUMBERS.format(then=checks[0], now=checks[-1])) + ended


@kept
def held_frames() -> UInt8[np.ndarray, "n H W 3"]:
    """The first frames of the clips whose features are pictured."""
    from vjepa.analysis.collapse import SHOWN, held_out

    return held_out()[:SHOWN, 0].numpy()


def features_over_time(
    checks: Sequence[Checkup], frames: UInt8[np.ndarray, "n H W 3"]
) -> tuple[UInt8[np.ndarray, "h w 3"], list[str]]:
    """Clips side by side, and below them their features as colours, moment by moment.

    Returns:
        the picture, of rows of equal height, and what to call each of them.
    """
    chosen = sorted({round(i) for i in np.linspace(0, len(checks) - 1, MOMENTS)})
    side = frames.shape[1]
    rows = [frames]
    for index in chosen:
        colours = checks[index].colours
        rows.append(colours.repeat(side // colours.shape[1], 1).repeat(side // colours.shape[2], 2))
    spaced = [np.pad(row, ((0, 0), (0, GAP), (0, GAP), (0, 0))) for row in rows]
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in spaced])
    return picture, ["clip", *(f"step {checks[index].step}" for index in chosen)]


def ten_seeds() -> None:
    """What ten trainings of each combination came to."""
    from vjepa.analysis.collapse import COLLAPSES, FEW, HOLDS

    found = committed()
    bounds = {"holds": HOLDS, "collapses": COLLAPSES, "few": FEW}
    head = {"command": COMMAND, "seeds": found["seeds"], **bounds}
    rows = [row(one) for one in found["trainings"]]
    st.markdown(TABLE_HEAD.format(**head).strip() + "\n" + "\n".join(rows))
    st.markdown(SHOWN)


def row(one: dict) -> str:
    """One combination as a row of the table."""
    from vjepa.analysis.collapse import NAMES

    on = [name for name, there in zip(NAMES, one["in_place"], strict=True) if there]
    ends = ", ".join(f"{count} **{end}**" for end, count in one["ends"].items())
    spread = f"{min(one['spread']):.2f} to {max(one['spread']):.2f}"
    return f"| {', '.join(on) or 'nothing'} | {ends} | {spread} | {np.median(one['loss']):.2f} |"


@st.cache_data(show_spinner=False)
def committed() -> dict:
    """The trainings that ship with the project."""
    return json.loads(TEN.read_text(encoding="utf-8"))
