"""Results to take along: a movie, a GIF, the mask."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st

from app.answers import Answer, pasted
from app.sources import Clip

HELP = "Save a decoded sample as a video or GIF, or the mask as a NumPy file."
CEILING = "ceiling"


def menu(clip: Clip, answer: Answer | None) -> None:
    """A popover with downloads; nothing is encoded before a click."""
    with st.popover("Export", icon=":material/download:", help=HELP, disabled=answer is None):
        if answer is None:
            return
        names = [*(f"sample {i + 1}" for i in range(len(answer.samples))), CEILING]
        which = st.segmented_control(
            "Which", names, default=names[0], required=True, label_visibility="collapsed"
        )
        with st.container(horizontal=True):
            for suffix, mime in (("mp4", "video/mp4"), ("gif", "image/gif")):
                st.download_button(
                    suffix,
                    data=lambda suffix=suffix: movie(clip, answer, names.index(which), suffix),
                    file_name=f"{clip.id}-{which.replace(' ', '-')}.{suffix}",
                    mime=mime,
                    on_click="ignore",
                    key=f"save_{suffix}",
                )
            st.download_button(
                "mask",
                data=lambda: mask_file(answer),
                file_name=f"{clip.id}-mask.npz",
                on_click="ignore",
                key="save_mask",
                help="A NumPy .npz with `mask` (t, h, w), True = hidden, and `error`.",
            )


def movie(clip: Clip, answer: Answer, index: int, suffix: str) -> bytes:
    """One panel as an H.264 mp4 or a GIF; the panel after the last sample is the ceiling."""
    from decoder import media

    encode = {"mp4": media.mp4_bytes, "gif": media.gif_bytes}[suffix]
    frames = pasted((*answer.samples, answer.ceiling)[index], answer.mask, clip)
    return encode(frames, clip.fps)


def mask_file(answer: Answer) -> bytes:
    """The mask and the error of each token as .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mask=answer.mask, error=answer.error)
    return buffer.getvalue()
