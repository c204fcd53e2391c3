"""Moving pictures of a lesson: arrays in, HTML out; all of a row play in step."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.workbench.figures import Frames, colour_table, jpeg_sheet

GROUND, STRIPE = 70, 120
"""Grey levels of what is hidden: its ground, and the stripes on it."""
PERIOD, WIDTH = 8, 2
"""Pixels from stripe to stripe, and of a stripe."""
FADED = 0.25
"""How much of the colours is left where a map says nothing."""
RING = np.array((255, 255, 255), np.uint8)
FPS = 6
"""Slower than the clips are: there is something to look for in each frame."""


@dataclass(frozen=True)
class Movie:
    """A moving picture.

    Attributes:
        title: under it.
        frames: what plays.
        told: what it shows, in a sentence: for those who do not see it, and under the pointer.
        note: a number beside the title.
    """

    title: str
    frames: Frames
    told: str
    note: str = ""


def movies(shown: Sequence[Movie], key: str) -> None:
    """Plays movies of one length side by side, and a box to stop them.

    Args:
        shown: from left to right.
        key: tells rows of a page apart.
    """
    films = "".join(map(_film, shown))
    pause = f'<label class="stop"><input type="checkbox" id="stop-{key}"> stop</label>'
    st.html(f'<div class="films" data-films="{key}"><div>{films}</div>{pause}</div>')


def still(file: Path, told: str, width: int) -> None:
    """A picture that does not move.

    Args:
        file: WebP.
        told: what it shows, for those who do not see it.
        width: pixels, where there is room for them.
    """
    source = "data:image/webp;base64," + base64.b64encode(file.read_bytes()).decode()
    look = f'width="{width}" style="max-width: 100%; height: auto"'
    st.html(f'<img src="{source}" alt="{html.escape(told, quote=True)}" {look}>')


def _film(movie: Movie) -> str:
    count = len(movie.frames)
    sheet = base64.b64encode(jpeg_sheet(movie.frames)).decode()
    half = count / FPS / 2  # films begin there: first frames often have nothing to show
    look = (
        f"background-image:url(data:image/jpeg;base64,{sheet});background-size:100% {100 * count}%;"
        f"animation-duration:{2 * half:.3f}s;animation-delay:-{half:.3f}s;"
        f"animation-timing-function:steps({count},jump-none)"
    )
    told = html.escape(movie.told, quote=True)
    words = f"<b>{html.escape(movie.title)}</b> <span>{html.escape(movie.note)}</span>"
    film = f'<div class="film" role="img" aria-label="{told}" title="{told}" style="{look}"></div>'
    return f"<figure>{film}<figcaption>{words}</figcaption></figure>"


def pixels_of(tokens: np.ndarray, frames: Frames) -> np.ndarray:
    """One value a token (t, h, w) as one a pixel (T, H, W) of those frames."""
    for axis, size in enumerate(frames.shape[:3]):
        tokens = tokens.repeat(size // tokens.shape[axis], axis=axis)
    return tokens


def hatched(frames: Frames, mask: Bool[np.ndarray, "t h w"]) -> Frames:
    """The frames with stripes where the mask hides them."""
    rows, columns = np.indices(frames.shape[1:3])
    stripes = np.where((rows + columns) % PERIOD < WIDTH, STRIPE, GROUND).astype(np.uint8)
    return np.where(pixels_of(mask, frames)[..., None], stripes[..., None], frames)


def heat(frames: Frames, values: Float[np.ndarray, "t h w"], high: float) -> Frames:
    """One number a token over the faded frames, 0 to `high` in cividis; NaN shows the frames."""
    table = np.frombuffer(colour_table(), np.uint8).reshape(256, 3)
    known = ~np.isnan(values)
    levels = (255 * np.clip(np.nan_to_num(values) / high, 0, 1)).astype(np.uint8)
    faded = (FADED * frames + (1 - FADED) * GROUND).astype(np.uint8)
    return np.where(pixels_of(known, frames)[..., None], table[pixels_of(levels, frames)], faded)


def outlined(frames: Frames, mask: Bool[np.ndarray, "t h w"]) -> Frames:
    """The frames with a line around what the mask marks."""
    inside = np.pad(pixels_of(mask, frames), ((0, 0), (1, 1), (1, 1)))
    core = inside[:, 1:-1, 1:-1]
    neighbours = inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1] & inside[:, 1:-1, :-2]
    edge = core & ~(neighbours & inside[:, 1:-1, 2:])
    return np.where(edge[..., None], RING, frames)
