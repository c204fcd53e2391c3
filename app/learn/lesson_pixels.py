"""Lesson "Features or pixels": what each objective spends itself on when noise comes."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.learn import charts, pictures
from app.learn.pictures import Movie
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.clip import Clip
from app.workbench.figures import Frames
from app.workbench.memory import kept
from app.workbench.rooms import ask
from app.workbench.session import ASSETS

CLIP = "box_passes"
TWIN = ASSETS / "baselines" / "pixels"
TWINS = ASSETS / "baselines" / "static.json"
SHOWN = ("0.2", "0.5")
"""Amounts of static that trained encoders were shown."""
MODELS = {"features": "model", "pixels": "pixel", "random weights": "random"}
AMOUNTS = tuple(range(0, 110, 10))
"""Per cent of static."""
SEED = 0

STORY = """
**Why not predict the pixels?** Then *everything* in the picture counts, even what nobody can
foresee: grain, leaves, water. Features may drop it: the target encoder decides what is said of a
token, and what cannot be predicted need not be said.

A test: a screen with **static**, new noise in every frame, stands in the scene. It is hidden, and
so is all around it, the box that passes included. Two models predict what is hidden. They were
trained alike, on the same clips behind the same masks: one on features, one on pixels. Turn the
static up:
"""
RESULT = """
The screen is **{tokens:.0%}** of what is hidden. It takes **{features:.0%}** of the feature loss
and **{pixels:.0%}** of the pixel loss.
"""
FIGURE = """
In a training, whatever takes the loss takes the gradient. At faint static pixel prediction already
spends itself on the screen, and feature prediction much less. **At full static both do**: this
small encoder never saw static, so it did not learn to drop it, and passes it on. What cannot be
predicted is not left out by itself, only where training taught it.
"""
TRAINED = """
**And what if training has static?** Six small models learned from simulated clips, three by
predicting features and three by predicting pixels, of the same clips behind the same masks: with
floor and walls as they are, with faint static on them ({faint}), and with strong ({strong}):
"""
KEPT = """
Then the encoders were frozen and shown the same scenes with two different noises. A feature that
changes with the noise carries it. How much is that, beside how much features change from scene to
scene?
"""
LEARNED = """
Where static is strong, it is **{features:.0%}** of a feature after feature prediction with it, and
**{pixels:.0%}** after pixel prediction; {features_before:.0%} and {pixels_before:.0%} in those that
never saw any, {random:.0%} with random weights. (Once more, from other first weights:
{features_again:.0%} and {pixels_again:.0%}.) **Feature prediction learned to leave out a part of
what nobody can foresee; pixel prediction hardly did.** Faint static taught features nothing.

Did that make better features? Not yet: {clips:,} clips are few, and no probe reads what happens
better from any of the six than from random weights. The notebook on probing has the numbers.
"""
ASKED = "Could the target encoder not drop *everything*, as then all would be predicted well?"
ANSWER = """
Yes: that is the trivial solution of lesson 3, and the reason for stop-gradient and EMA. Between
dropping all and dropping nothing lies what is useful: keep what can be predicted, drop what cannot.
What this buys is seen in frozen evaluation. At the paper's size features beat pixels clearly; at
the size of this app they do not everywhere, and the page "Probes" shows where.
"""


@dataclass(frozen=True)
class Noisy:
    """The clip with one amount of static.

    Attributes:
        frames: what the models are given.
        features, pixels: their losses token by token, NaN where visible.
    """

    frames: Frames
    features: Float[np.ndarray, "t h w"]
    pixels: Float[np.ndarray, "t h w"]


def lesson() -> None:
    """The story, the slider, where the losses are, and the curve over all amounts."""
    from vjepa.analysis.spending import share_at

    clip = lesson_clip(CLIP)
    mask, screen = places(clip.model.config.grid)
    st.markdown(STORY)
    look = {"label": "static, %", "key": "lesson_static"}
    amount = settings.slider(st, "static", AMOUNTS, 30, **look)
    every = errors(clip.id, clip)
    shares = {
        "features": [share_at(one.features, screen) for one in every],
        "pixels": [share_at(one.pixels, screen) for one in every],
    }
    number = AMOUNTS.index(amount)
    show(every[number], mask)
    told = {name: values[number] for name, values in shares.items()}
    tokens = (screen & mask).sum() / mask.sum()
    st.markdown(RESULT.format(tokens=tokens, **told))
    figure = charts.shares_lines(AMOUNTS, shares, tokens, amount)
    st.plotly_chart(figure, key="static_curve", config=BARE)
    st.markdown(FIGURE)
    tell_trained(json.loads(TWINS.read_text(encoding="utf-8")))
    question(ASKED, ANSWER)
    onward("Features and pixels, probed", "probes", clip, mask)


def tell_trained(twins: dict) -> None:
    """What became of models that learned with static.

    Args:
        twins: what `benchmarks/static_twins.py` wrote.
    """
    _, faint, strong = (f"{world['static']:.0%}" for world in twins["worlds"])
    st.markdown(TRAINED.format(faint=faint, strong=strong))
    told = f"Six simulated clips: without static, with {faint} of it, and with {strong}."
    pictures.still(TWINS.with_suffix(".webp"), told, 480)
    st.markdown(KEPT)
    panels = {f"shown {float(share):.0%} static": kept_by(twins, share) for share in SHOWN}
    learned = [round(100 * world["static"]) for world in twins["worlds"]]
    st.plotly_chart(charts.twins_lines(learned, panels), key="twins", config=BARE)
    features, pixels, random = kept_by(twins, SHOWN[-1]).values()
    again = twins["worlds"][-1]["kept_again"][SHOWN[-1]]
    told = {
        "features": features[-1],
        "pixels": pixels[-1],
        "random": random[-1],
        "features_before": features[0],
        "pixels_before": pixels[0],
        "features_again": again["model"],
        "pixels_again": again["pixel"],
        "clips": 16 * twins["settings"]["steps"],
    }
    st.markdown(LEARNED.format(**told))


def kept_by(twins: dict, shown: str) -> dict[str, list[float]]:
    """How much of features is static, of each model and for each amount of it in training.

    Args:
        twins: as in `tell_trained`.
        shown: how much static there is in the clips that they are shown.
    """
    return {
        name: [world["kept"][shown][key] for world in twins["worlds"]]
        for name, key in MODELS.items()
    }


def places(
    grid: tuple[int, int, int],
) -> tuple[Bool[np.ndarray, "t h w"], Bool[np.ndarray, "t h w"]]:
    """What is hidden, and where the static is: a corner of it, through all of time."""
    t, h, w = grid
    mask, screen = np.zeros((2, *grid), bool)
    mask[t // 4 :, 1 : h - 1, 1 : w - 1] = True
    screen[:, 1 : 1 + h // 3, 1 : 1 + w // 3] = True
    return mask, screen


@kept
def errors(clip_id: str, _clip: Clip) -> list[Noisy]:
    """Both models' losses for each amount of static."""

    def work(explorer) -> list[Noisy]:
        import torch

        from vjepa.analysis.spending import feature_errors, pixel_errors, with_static
        from vjepa.baselines import load_pixel_prediction

        hidden, screen = places(explorer.grid)
        mask, twin, found = torch.from_numpy(hidden), load_pixel_prediction(TWIN), []
        where = pictures.pixels_of(screen, _clip.frames)
        for amount in AMOUNTS:
            noise = np.random.default_rng(SEED)
            frames = with_static(_clip.frames, where, amount / 100, noise)
            own = feature_errors(explorer.model, frames, mask)
            found.append(Noisy(frames, own, pixel_errors(twin, frames, mask)))
        return found

    return ask(_clip, work)


def show(one: Noisy, mask: Bool[np.ndarray, "t h w"]) -> None:
    """The clip, what is left of it, and where each loss is, on a scale of its own."""
    shown = [
        Movie("the clip", one.frames, "The clip with static on the screen."),
        Movie("what is left", pictures.hatched(one.frames, mask), "Striped tokens are hidden."),
        Movie("feature loss", loss(one, one.features), "Where the feature loss is: bright is much"),
        Movie("pixel loss", loss(one, one.pixels), "Where the pixel loss is: bright is much"),
    ]
    pictures.movies(shown, "static")


def loss(one: Noisy, values: Float[np.ndarray, "t h w"]) -> Frames:
    """A loss over the clip; three times its mean is at the bright end."""
    return pictures.heat(one.frames, values, 3 * float(np.nanmean(values)))
