"""What a visitor takes along of "Mask and decode"."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st

from app.mask_and_decode.answers import Answer, pasted
from app.workbench.clip import Clip
from app.workbench.figures import Frames
from app.workbench.session import State

HELP = (
    "A panel, or all side by side, as a film or a strip of frames; the mask and the errors as "
    "numbers; or a recipe."
)
NUMBERS_HELP = "A NumPy .npz with `mask` (t, h, w), True = hidden, and `error`."
RECIPE_HELP = (
    "The clip, the mask, the noise and the steps as JSON: `python -m decoder decode --replay FILE "
    "--out film.mp4` draws the same pixels from it."
)
ALL = "side by side"
KINDS = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp", "png": "image/png"}
"""Files that a panel is saved as: three films, and a strip of all frames."""


def export_menu(state: State, clip: Clip, answer: Answer | None, sheets: dict[str, bytes]) -> None:
    """A popover with downloads; nothing is encoded before a click.

    Args:
        state: how it was asked.
        clip: what was asked about.
        answer: what was answered, if anything.
        sheets: the answer's pictures of hidden pixels, by name.
    """
    with st.popover("Export", icon=":material/download:", disabled=answer is None):
        st.caption(HELP)
        if answer is None:
            return
        if sheets:
            names = [*sheets, ALL]
            look = {"default": names[0], "required": True, "label_visibility": "collapsed"}
            which = st.segmented_control("Which", names, **look) or names[0]
            with st.container(horizontal=True):
                for kind in KINDS:
                    film_button(clip, answer, sheets, which, kind)
        with st.container(horizontal=True):
            name = f"{clip.id}-mask.npz"
            save("mask.npz", lambda: mask_file(answer), name, NUMBERS_HELP)
            name = f"{clip.id}-recipe.json"
            save("recipe.json", lambda: recipe(state, answer), name, RECIPE_HELP)


def film_button(
    clip: Clip, answer: Answer, sheets: dict[str, bytes], which: str, kind: str
) -> None:
    """One panel, or all of them, as a file of one kind."""
    name = f"{clip.id}-{which.replace(' ', '-')}.{kind}"
    save(kind, lambda: film(clip, answer, sheets, which, kind), name)


def save(label: str, data, name: str, told: str | None = None) -> None:
    """A button that makes a file when it is clicked."""
    look = {"on_click": "ignore", "key": f"save_{label}", "help": told}
    st.download_button(label, data=data, file_name=name, **look)


def film(clip: Clip, answer: Answer, sheets: dict[str, bytes], which: str, kind: str) -> bytes:
    """A panel as an H.264 mp4, a GIF, a WebP or a strip of frames as PNG."""
    from decoder import media

    encode = {
        "mp4": media.mp4_bytes,
        "gif": media.gif_bytes,
        "webp": media.webp_bytes,
        "png": lambda frames, _: media.strip_bytes(frames),
    }[kind]
    return encode(shown(clip, answer, sheets, which), clip.fps)


def shown(clip: Clip, answer: Answer, sheets: dict[str, bytes], which: str) -> Frames:
    """The frames of a panel, or of the clip and all panels beside each other."""
    if which != ALL:
        return pasted(sheets[which], answer.mask, clip)
    panels = [pasted(sheet, answer.mask, clip) for sheet in sheets.values()]
    return np.concatenate([clip.frames, *panels], axis=2)


def mask_file(answer: Answer) -> bytes:
    """The mask and the error of each token as .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mask=answer.mask, error=answer.error)
    return buffer.getvalue()


def recipe(state: State, answer: Answer) -> bytes:
    """How to draw the same pixels without the app."""
    from decoder import Replay

    address, question = state.address, answer.question
    made = Replay(
        kind=address.kind,
        name=address.name,
        start=address.start,
        fps=address.fps,
        model=state.model.address.name,
        num_frames=state.model.address.num_frames,
        grid=answer.mask.shape,
        hidden=tuple(np.flatnonzero(answer.mask).tolist()),
        seeds=question.seeds,
        steps=question.steps,
        mask_token=question.mask_token,
    )
    return made.text().encode()
