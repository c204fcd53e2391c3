"""What a visitor takes along of "Mask and decode"."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st

from app.mask_and_decode.answers import Answer, pasted
from app.workbench.clip import Clip

HELP = "Save a panel as a video or GIF, or the mask as a NumPy file."


def export_menu(clip: Clip, answer: Answer | None, sheets: dict[str, bytes]) -> None:
    """A popover with downloads; nothing is encoded before a click.

    Args:
        clip: what was asked about.
        answer: what was answered, if anything.
        sheets: the answer's pictures of hidden pixels, by name.
    """
    with st.popover("Export", icon=":material/download:", disabled=answer is None):
        st.caption(HELP)
        if answer is None:
            return
        if sheets:
            which = st.segmented_control(
                "Which",
                list(sheets),
                default=next(iter(sheets)),
                required=True,
                label_visibility="collapsed",
            )
        with st.container(horizontal=True):
            if sheets:
                movie_buttons(clip, answer, which, sheets[which])
            st.download_button(
                "mask",
                data=lambda: mask_file(answer),
                file_name=f"{clip.id}-mask.npz",
                on_click="ignore",
                key="save_mask",
                help="A NumPy .npz with `mask` (t, h, w), True = hidden, and `error`.",
            )


def movie_buttons(clip: Clip, answer: Answer, name: str, sheet: bytes) -> None:
    """One panel as a video, and as a GIF."""
    for suffix, mime in (("mp4", "video/mp4"), ("gif", "image/gif")):
        st.download_button(
            suffix,
            data=lambda suffix=suffix: movie(clip, answer, sheet, suffix),
            file_name=f"{clip.id}-{name.replace(' ', '-')}.{suffix}",
            mime=mime,
            on_click="ignore",
            key=f"save_{suffix}",
        )


def movie(clip: Clip, answer: Answer, sheet: bytes, suffix: str) -> bytes:
    """One panel as an H.264 mp4 or a GIF."""
    from decoder import media

    encode = {"mp4": media.mp4_bytes, "gif": media.gif_bytes}[suffix]
    return encode(pasted(sheet, answer.mask, clip), clip.fps)


def mask_file(answer: Answer) -> bytes:
    """The mask and the error of each token as .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mask=answer.mask, error=answer.error)
    return buffer.getvalue()
