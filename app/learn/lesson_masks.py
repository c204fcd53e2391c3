"""Lesson "Tokens and masks": how much is hidden, what is left, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.learn import charts, pictures
from app.learn.pictures import Movie
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.clip import Clip
from app.workbench.figures import Frames, to_link
from app.workbench.memory import kept
from app.workbench.rooms import ask
from vjepa.config import preset

SHARES = tuple(range(30, 100, 5))
"""Per cent of the frame."""
DEFAULT = 65
DRAWS = 20
"""Sets of blocks to click through."""
STEPS, SEED = 4, 0
CLIP = "two_collide"
BATCH = 24
"""Clips that one processor trained on in the published runs."""

STORY = """
**A clip becomes tokens.** It is cut into *tubelets* of 16 x 16 pixels and 2 frames, and each is a
token: this clip of {frames} frames, {side} pixels wide, has {t} x {h} x {w} = **{count} tokens**.

**Most of them are hidden.** Blocks are laid over the frame, each through *all of time*:
otherwise what is hidden could be copied from another moment. What lies under any block is hidden
(the *union*).

**The hidden ones are dropped.** The encoder is not given grey squares: it is given fewer tokens.
What it would have said of the others is to be *predicted* from those that are left. Drag the share:
"""
SHARE_HELP = (
    "Blocks of 15% of the frame, as the paper's short-range masks have them, are added until so "
    "much is hidden; the last one is cut there."
)
PAPER = """
**The paper's masks** have a fixed number of blocks, with an aspect ratio of .75 to 1.5. How much
they hide follows from that. Measured just now, on the paper's grid of {grid} tokens:

| | blocks | covered by the union | not seen by the encoder |
|---|---|---|---|
| short-range | 8 of 15% of the frame | {short[0]:.0%} | {short[1]:.0%} |
| long-range | 2 of 70% of the frame | {long[0]:.0%} | {long[1]:.0%} |

The last column is higher: clips are trained in batches of {batch}, and all of a batch are cut to as
many visible tokens as the fullest mask leaves. The paper speaks of about 90%, and predicts behind
both kinds of masks at every step.
"""
ASKED = "Why is it not enough to hide each block in *one* frame?"
ANSWER = """
Video hardly changes from frame to frame. What is hidden in one frame only stands in the one before
it, at nearly the same place: copying would do, and nothing would have to be understood. A block
through all of time leaves nothing to copy. For the same reason so *much* is hidden: a small hole
has its answer right beside it. And it is cheap: an encoder that is given a tenth of the tokens has
a tenth of the work, and its attention a hundredth.
"""


@dataclass(frozen=True)
class HiddenAway:
    """What became of a clip behind a mask.

    Attributes:
        error: L1 distance of predicted and true features, NaN where visible.
        decoded: the prediction as pixels, pasted into the clip.
        typical: mean error of the model's test clips.
    """

    error: Float[np.ndarray, "t h w"]
    decoded: Frames
    typical: float


def lesson() -> None:
    """The story, the slider with what comes of it, the paper's numbers."""
    clip = lesson_clip(CLIP)
    t, h, w = grid = clip.model.config.grid
    frames, side = clip.frames.shape[:2]
    st.markdown(STORY.format(frames=frames, side=side, t=t, h=h, w=w, count=t * h * w))
    share, draw = knobs()
    mask, blocks = covered(grid, share, draw)
    show(clip, mask, behind(clip.id, to_link(mask), clip, mask))
    st.markdown(numbers(mask, len(blocks)))
    curve = errors_by_share(clip.id, draw, clip)
    st.plotly_chart(charts.error_by_share(SHARES, curve, share), key="share_curve", config=BARE)
    paper = preset("vitl16").grid
    measured = {kind: averages(paper, kind) for kind in ("short", "long")}
    st.markdown(PAPER.format(grid=" x ".join(map(str, paper)), batch=BATCH, **measured))
    question(ASKED, ANSWER)
    onward("Paint on this mask yourself", "mask-and-decode", clip, mask)


def knobs() -> tuple[int, int]:
    """The share, per cent, and which draw of blocks."""
    look = {"label": "hidden, %", "key": "lesson_share", "help": SHARE_HELP}
    share = settings.slider(st, "share", SHARES, DEFAULT, **look)
    draw = settings.value_of("draw", range(DRAWS), 0)
    again = {"on_click": lambda: settings.keep("draw", (draw + 1) % DRAWS, 0)}
    st.button("Other blocks", icon=":material/casino:", key="other_blocks", **again)
    return share, draw


def covered(
    grid: tuple[int, int, int], share: int, draw: int
) -> tuple[Bool[np.ndarray, "t h w"], tuple]:
    """The mask of so many per cent, and its blocks."""
    import torch

    from vjepa.analysis.hiding import union

    found = union(grid, share / 100, torch.Generator().manual_seed(draw))
    return found.mask.numpy(), found.blocks


@kept
def behind(
    clip_id: str, mask_link: str, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]
) -> HiddenAway:
    """What the model predicts behind a mask, decoded."""

    def work(explorer) -> HiddenAway:
        found = explorer.predict(_mask, seeds=[SEED], steps=STEPS)
        return HiddenAway(found.error, found.frames[0], found.typical_error[0])

    return ask(_clip, work)


@kept
def errors_by_share(clip_id: str, draw: int, _clip: Clip) -> list[float]:
    """The clip's mean error for each of the shares, with the same blocks."""

    def work(explorer) -> list[float]:
        masks = (covered(explorer.grid, share, draw)[0] for share in SHARES)
        return [float(np.nanmean(explorer.inspect(mask).error)) for mask in masks]

    return ask(_clip, work)


@kept
def averages(grid: tuple[int, int, int], kind: str) -> list[float]:
    """What the paper's masks hide on average: `vjepa.analysis.hiding.shares_hidden`."""
    import torch

    from vjepa.analysis.hiding import shares_hidden

    return shares_hidden(grid, kind, BATCH, 50, torch.Generator().manual_seed(0)).tolist()


def show(clip: Clip, mask: Bool[np.ndarray, "t h w"], found: HiddenAway) -> None:
    """What is dropped, what is predicted, how wrong it is, and the truth."""
    shown = [
        Movie(
            "what is left",
            pictures.hatched(clip.frames, mask),
            "The clip; striped tokens are dropped before the encoder.",
            f"{(~mask).sum()} tokens",
        ),
        Movie(
            "the prediction, decoded",
            found.decoded,
            "What the model predicts behind the mask, drawn by the decoder.",
            f"{mask.sum()} tokens",
        ),
        Movie(
            "error",
            pictures.heat(clip.frames, found.error, 2 * found.typical),
            "How far predicted features are from the true ones: bright is far.",
            f"{np.nanmean(found.error):.2f}".removeprefix("0"),
        ),
        Movie("the truth", clip.frames, "The clip as it is."),
    ]
    pictures.movies(shown, "masks")


def numbers(mask: Bool[np.ndarray, "t h w"], blocks: int) -> str:
    """What the mask leaves, in a line."""
    left = (~mask).mean()
    return (
        f"**{blocks}** blocks hide **{mask.mean():.0%}**: the encoder is given **{(~mask).sum()}** "
        f"of {mask.size} tokens ({left:.0%}; {left**2:.0%} of the pairs that attention compares)."
    )
