"""Lesson "The predictor": what it is given token by token, what it says, and that nothing leaks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.learn import charts, pictures
from app.learn.pictures import Movie
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.catalogue import default_mask
from app.workbench.clip import Clip
from app.workbench.figures import Frames, to_link
from app.workbench.memory import kept
from app.workbench.rooms import ask
from vjepa.config import ModelConfig, preset

CLIP = "box_passes"
MAP, PLACE = "token_map", "lesson_token"
CLICKS = {"on_select": "rerun", "selection_mode": "points"}
STEPS, SEED = 4, 0
NOTHING, HIDDEN, VISIBLE = "nothing", "what is hidden", "what is visible"

STORY = """
**What is predicted?** Not the pixels that are hidden, but their *features*: what the **target
encoder** says of them. It is a second encoder, a copy that slowly follows the first. It sees the
whole clip, and may leave out what nobody can foresee: the grain of a wall, each leaf of a tree.
**Why not pixels?** Predicted pixels would have to get all of that right, and most of the effort
would go there.

**From what?** The predictor is given one vector a token. For a *visible* token: its features, from
the **context encoder**, the first one, which was given the visible tokens alone. For a *hidden*
one: the **mask token**, one learned vector, the same everywhere. Each comes with its *place*, and
nothing else goes in.

**Compared with what?** With the target encoder's features of the same token, by the mean absolute
difference, **L1**. Click a token, or slide:
"""
PLACE_HELP = "Tokens are numbered moment by moment, row by row."
WHERE = (
    "It learns where a token is by turning the token's queries and keys (rotary positions, as in "
    "V-JEPA 2); the paper adds a vector of the place."
)
NARROW = """
The predictor is *narrow*, so that the encoder has to do the understanding: here **{depth} blocks,
{dim} numbers wide**, after an encoder of {encoder_depth} blocks, {encoder_dim} wide; in the paper
**{paper_depth} blocks, {paper_dim} wide**, after {large_depth}, {large_dim} wide.
"""
LEAK = """
**Can it have seen the answer?** Cover something with noise, and see what changes. Hidden tokens are
dropped before the first layer, so noise there cannot reach the predictions.
"""
TABLE = """
| noise over | largest change of a prediction | largest change of a target |
|---|---|---|
| {hidden} | **{same:.6f}** | {target_own:.2f} |
| {visible} | {moved:.2f} | {target_other:.2f} |

The first number is the leak, and it is zero. The last tells how targets are made: only *visible*
tokens changed, and the targets of *hidden* ones with them. The target encoder sees the whole clip,
and hidden tokens are picked from its **output**, not its input: each target knows its surroundings
(*contextualised targets*). This small model makes little use of that: had its target encoder been
given the hidden tokens alone, targets would differ by {early:.3f} (mean L1). For comparison:
predictions differ from their targets by {error:.2f}, targets of two places by {apart:.2f}.
"""
ASKED = "All mask tokens are the same vector. Why are the predictions not?"
ANSWER = """
Because of *where* they are. Each mask token is told its place, and by attention it asks the visible
ones: what is around here, and what was here a moment ago? Without places all hidden tokens would
get one and the same answer.
"""


@dataclass(frozen=True)
class Told:
    """What model and decoder say of one clip behind a mask.

    Attributes:
        given: the predictor's input, a row a token.
        predicted, target: of the hidden tokens, last layer.
        early: the targets, had they been picked at the target encoder's input.
        decoded: the prediction as pixels, pasted into the clip.
    """

    given: Float[np.ndarray, "N P"]
    predicted: Float[np.ndarray, "M D"]
    target: Float[np.ndarray, "M D"]
    early: Float[np.ndarray, "M D"]
    decoded: Frames


def lesson() -> None:
    """The story, the tokens one by one, the leak that is not there."""
    clip = lesson_clip(CLIP)
    mask = default_mask(CLIP, clip.model.config.grid)
    st.markdown(STORY)
    told = tell(clip.id, to_link(mask), clip, mask)
    token_by_token(clip, mask, told)
    st.markdown(NARROW.format(**sizes(clip.model.config)))
    st.markdown(LEAK)
    leak(clip, mask, told)
    question(ASKED, ANSWER)
    onward("Hide something else from the predictor", "mask-and-decode", clip, mask)


@kept
def tell(clip_id: str, mask_link: str, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]) -> Told:
    """What becomes of a clip behind a mask."""

    def work(explorer) -> Told:
        import torch

        from vjepa.analysis.predictor_input import rows_given, targets_masked_first
        from vjepa.data.clips import normalize

        model, mask = explorer.model, torch.from_numpy(_mask)
        pixels, last = normalize(explorer.frames)[None], model.config.last_layer
        seen = explorer.features(mask)
        return Told(
            rows_given(model, pixels, mask).numpy(),
            seen.predictions[:, last].cpu().numpy(),
            explorer.targets[seen.target_idx][:, last].cpu().numpy(),
            targets_masked_first(model, pixels, mask).numpy(),
            explorer.predict(mask, seeds=[SEED], steps=STEPS).frames[0],
        )

    return ask(_clip, work)


def token_by_token(clip: Clip, mask: Bool[np.ndarray, "t h w"], told: Told) -> None:
    """A map to click, and what goes in and comes out for the chosen token."""
    first = int(np.flatnonzero(mask)[0])
    token = settings.value_of("at", range(mask.size), first)
    st.session_state.setdefault(PLACE, token)
    look = {"key": PLACE, "help": PLACE_HELP, "on_change": slid, "args": (first,)}
    token = st.slider("token", 0, mask.size - 1, **look)
    left, right = st.columns([5, 9], gap="medium", vertical_alignment="center")
    step, place = divmod(token, mask[0].size)
    with left:
        frame = clip.frames[step * clip.model.config.tubelet_size]
        figure = charts.token_map(frame, mask[step], place)
        clicks = CLICKS | {"on_select": lambda: clicked(step * mask[0].size, first)}
        st.plotly_chart(figure, key=f"{MAP}_{step}", config=BARE, width="content", **clicks)
        st.caption(f"moment {step + 1} of {len(mask)}; hidden tokens are dark")
    with right:
        rows = rows_of(token, mask, told)
        st.plotly_chart(charts.token_rows(rows), key="token_rows", config=BARE)
        st.markdown(said_of(token, mask, told), help=WHERE)


def slid(first: int) -> None:
    """Keeps the token that the slider names."""
    settings.keep("at", st.session_state.get(PLACE, first), first)


def clicked(start: int, first: int) -> None:
    """Takes over the token that was clicked on the map of the moment that begins at `start`."""
    for key in [key for key in st.session_state if str(key).startswith(MAP)]:
        if points := st.session_state[key].selection.points:
            st.session_state[PLACE] = start + points[0]["point_index"]
            slid(first)


def rows_of(
    token: int, mask: Bool[np.ndarray, "t h w"], told: Told
) -> dict[str, Float[np.ndarray, " D"]]:
    """What goes in for a token, and where it is hidden what comes out, and what should."""
    if not mask.flat[token]:
        return {"in: its features": told.given[token]}
    number = int(mask.flat[:token].sum())
    return {
        "in: the mask token": told.given[token],
        "out: predicted features": told.predicted[number],
        "target: true features": told.target[number],
    }


def said_of(token: int, mask: Bool[np.ndarray, "t h w"], told: Told) -> str:
    """The chosen token in a sentence."""
    if not mask.flat[token]:
        return "**Visible**: its features go in, and nothing is asked about it."
    number = int(mask.flat[:token].sum())
    error = np.abs(told.predicted[number] - told.target[number]).mean()
    return (
        f"**Hidden**: the mask token goes in, the same as at all {mask.sum()} hidden places, and "
        f"where it is. The answer differs from the target by **{error:.2f}** (L1)."
    )


def sizes(config: ModelConfig) -> dict[str, int]:
    """How narrow the predictor is, here and in the paper."""
    paper = preset("vitl16")
    return {
        "depth": config.predictor_depth,
        "dim": config.predictor_embed_dim,
        "encoder_depth": config.depth,
        "encoder_dim": config.embed_dim,
        "paper_depth": paper.predictor_depth,
        "paper_dim": paper.predictor_embed_dim,
        "large_depth": paper.depth,
        "large_dim": paper.embed_dim,
    }


def leak(clip: Clip, mask: Bool[np.ndarray, "t h w"], told: Told) -> None:
    """Noise over what is hidden, or over what is visible, and what changes."""
    link = to_link(mask)
    others = {name: noisy(clip, hides, name) for name, hides in ((HIDDEN, mask), (VISIBLE, ~mask))}
    tells = {name: tell(other.id, link, other, mask) for name, other in others.items()}
    look = {"label": "noise over", "key": "lesson_noise"}
    name = settings.segments(st, "noise", [NOTHING, HIDDEN, VISIBLE], HIDDEN, **look)
    given, found = others.get(name, clip), tells.get(name, told)
    shown = [
        Movie("the clip", given.frames, f"The clip with noise over {name}."),
        Movie(
            "what the encoder gets",
            pictures.hatched(given.frames, mask),
            "Striped tokens are dropped.",
        ),
        Movie(
            "the prediction, decoded",
            np.where(pictures.pixels_of(mask, clip.frames)[..., None], found.decoded, clip.frames),
            "What is predicted behind the mask.",
            f"largest change {largest(found.predicted, told.predicted):.2g}",
        ),
    ]
    pictures.movies(shown, "leak")
    st.markdown(table(told, tells))


def noisy(clip: Clip, tokens: Bool[np.ndarray, "t h w"], name: str) -> Clip:
    """The clip with noise over some tokens."""
    noise = np.random.default_rng(SEED).integers(0, 256, clip.frames.shape, np.uint8)
    painted = np.where(pictures.pixels_of(tokens, clip.frames)[..., None], noise, clip.frames)
    return replace(clip, id=f"{clip.id}~noise over {name}", frames=painted)


def table(told: Told, tells: dict[str, Told]) -> str:
    """The largest changes, and what targets picked too early would be."""
    hidden, visible = tells[HIDDEN], tells[VISIBLE]
    return TABLE.format(
        hidden=HIDDEN,
        visible=VISIBLE,
        same=largest(hidden.predicted, told.predicted),
        moved=largest(visible.predicted, told.predicted),
        target_own=largest(hidden.target, told.target),
        target_other=largest(visible.target, told.target),
        early=np.abs(told.early - told.target).mean(),
        error=np.abs(told.predicted - told.target).mean(),
        apart=np.abs(told.target - np.roll(told.target, len(told.target) // 2, axis=0)).mean(),
    )


def largest(some: Float[np.ndarray, "M D"], others: Float[np.ndarray, "M D"]) -> float:
    """The largest difference of any two numbers."""
    return float(np.abs(some - others).max())
