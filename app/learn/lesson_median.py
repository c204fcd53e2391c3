"""Lesson "L1 and the median": what the best guess is, and what it teaches the encoder."""

from __future__ import annotations

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.learn import charts
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.catalogue import default_mask
from app.workbench.memory import kept

RARE = tuple(range(0, 105, 5))
"""How often the second thing happens, per cent."""
APART = tuple(range(1, 9))
GUESSES = 121
ANGLES = 19
NOISE = 0.5
SEED = 0

STORY = """
**Nobody knows what comes, so what should one say?** A ball rolls behind a screen, and one time in
five it stops there. Below are 4,000 outcomes: most lie around 0, some lie apart. Drag how often
that is and how far, then drag your own guess to where the error is smallest.
"""
RESULT = """
Under **L1** the best guess is the **median**, {median:.2f}: half of the outcomes lie on each side.
The error that it leaves is the mean absolute deviation from it, the **MAD**, {mad:.2f} (shaded).
Under a squared error the best guess is the **mean**, {mean:.2f}, which what is rare pulls along: it
may lie where nothing ever comes. Your guess: L1 {yours:.2f}, {above:.0%} above the least there is.
"""
ENCODER = r"""
**What does that teach the encoder?** Put the best predictor $P^\star$, the median of the target
given what the encoder says, back into the error. Then (section 3.1 of the paper)
"""
EQUATION = r"""
\nabla_\theta \big\lVert P^\star(E_\theta(x)) - Y \big\rVert_1
\;=\; \nabla_\theta\, \text{MAD}\big(Y \,|\, E_\theta(x)\big)
"""
CHECK = """
The encoder gets better by *knowing more of what narrows the target down*; saying less would widen
it. A check: the target is one of two numbers, with noise; the encoder keeps one mixture of them.
The line is the slope of the MAD, the dots are the gradient that reaches the encoder through the
best predictor. They differ by {most:.4f} at most.
"""
LIMITS = """
Two things to see. Through a predictor that ignores what it is told (dashed) *nothing* arrives: only
a good predictor teaches. And here the targets stand still. In V-JEPA they follow the encoder, and
where they become simpler the MAD falls too: against that stands the stop-gradient.
"""
ASKED = "The second thing comes 45% of the time. How far is the L1 guess from it, and is that good?"
ANSWER = """
The median stays with the more frequent one, at nearly full distance; at 55% it leaps across. A
guess under L1 *takes sides*, one under a squared error stands between, where nothing comes. Taking
sides is the better picture of a world with two ways to go, but it hides that there are two. So a
single prediction cannot say how sure it is. That is why this app decodes several samples.

A hidden thing that may have gone to many places is, at each of them, the rarer outcome: under L1
it fades. The bundled predictor was trained on with rare tokens counting more (`--rarity 1.5`), so
that it takes the thing's side sooner: a weighted median leaps where the *weights* are equal.
"""


def lesson() -> None:
    """Outcomes to drag, a guess, and the gradient."""
    st.markdown(STORY)
    values = drawn(*knobs())
    guess_at(values)
    st.markdown(ENCODER)
    st.latex(EQUATION)
    degrees, found = gradients()
    st.markdown(CHECK.format(most=np.abs(found.of_mad - found.through).max()))
    named = {
        "slope of the MAD": found.of_mad,
        "gradient through the best predictor": found.through,
        "gradient through one<br>that ignores the encoder": found.stale,
    }
    st.plotly_chart(charts.gradient_lines(degrees, named), key="gradients", config=BARE)
    st.markdown(LIMITS)
    question(ASKED, ANSWER)
    clip = lesson_clip("two_collide")
    mask = default_mask(clip.bundled, clip.model.config.grid)
    onward("One step draws one guess; then choose 16 steps", "mask-and-decode", clip, mask, steps=1)


def knobs() -> tuple[int, int]:
    """How often the second thing happens, per cent, and how far away it lies."""
    often, far = st.columns(2, gap="medium")
    look = {"label": "how often, %", "key": "lesson_often"}
    share = settings.slider(often, "often", RARE, 20, **look)
    look = {"label": "how far apart", "key": "lesson_far"}
    return share, settings.slider(far, "far", APART, 4, **look)


@kept
def drawn(share: int, apart: int) -> Float[np.ndarray, " n"]:
    """What comes: `vjepa.analysis.median.outcomes`."""
    import torch

    from vjepa.analysis.median import outcomes

    generator = torch.Generator().manual_seed(SEED)
    return outcomes(share / 100, float(apart), NOISE, generator)


def guess_at(values: Float[np.ndarray, " n"]) -> None:
    """The distribution, a guess to drag, and its errors."""
    from vjepa.analysis.median import best_guesses, errors

    best = best_guesses(values)
    st.plotly_chart(
        charts.outcome_bars(values, best.median, best.mad, best.mean), key="outcomes", config=BARE
    )
    guess = st.slider("your guess", -1.0, 9.0, 2.0, 0.1, key="lesson_guess")
    guesses = np.linspace(-1, 9, GUESSES).astype(values.dtype)
    figure = charts.guess_errors(guesses, errors(values, guesses), guess)
    st.plotly_chart(figure, key="guess_errors", config=BARE)
    yours = float(np.abs(values - guess).mean())
    told = {"median": best.median, "mad": best.mad, "mean": best.mean}
    st.markdown(RESULT.format(**told, yours=yours, above=yours / best.mad - 1))


@kept
def gradients() -> tuple:
    """Angles in degrees, and what an encoder is told there: `vjepa.analysis.median.slopes`."""
    import torch

    from vjepa.analysis.median import slopes

    angles = np.linspace(0, np.pi / 2, ANGLES)
    return np.degrees(angles), slopes(angles, NOISE, torch.Generator().manual_seed(SEED))
