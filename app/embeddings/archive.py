"""The maps of the embeddings page to take along: a picture, a movie, the numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float, UInt8

from app.workbench import figures
from app.workbench.clip import Clip
from app.workbench.clip_features import masked_errors
from app.workbench.components import View
from app.workbench.figures import to_link
from vjepa.errors import InputError

if TYPE_CHECKING:
    from vjepa.analysis.projections import Components

HELP = "Save the maps as a picture, the first of them as a video, or all numbers for NumPy."
SHEET_HELP = "All maps: one row a map, one column a time step."
MOVIE_HELP = "The first map, as long as the clip."
NUMBERS_HELP = (
    "A NumPy .npz: `features` (N, D), layer-normed; their `scores` (N, K), with `axes`, `mean` and "
    "`explained`; `positions` (N, 3): time, row, column; `mask` and `error` (t, h, w), NaN where "
    "visible."
)
PATCH = 32
"""Pixels along a patch; an even number, as H.264 wants it."""
GAP = 8


@dataclass(frozen=True)
class Numbers:
    """What the archive is made of, when it is asked for."""

    clip: Clip
    mask: Bool[np.ndarray, "t h w"]
    features: Float[np.ndarray, "N D"]
    found: Components

    def archive(self) -> bytes:
        """Arrays by name as .npz."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            features=self.features,
            scores=self.found.scores(self.features),
            axes=self.found.axes,
            mean=self.found.mean,
            explained=self.found.explained,
            positions=np.indices(self.mask.shape).reshape(3, -1).T,
            mask=self.mask,
            error=self.error(),
        )
        return buffer.getvalue()

    def error(self) -> Float[np.ndarray, "t h w"]:
        """Of the predictions behind the mask; NaN where there are none."""
        try:
            found = masked_errors(self.clip.id, to_link(self.mask), self.clip, self.mask)
        except InputError:  # an empty or a full mask: nothing is predicted
            return np.full(self.mask.shape, np.nan)
        return found.values


def menu(clip: Clip, shown: list[View], numbers: Numbers) -> None:
    """A popover with downloads; nothing is encoded before a click."""
    with st.popover("Export", icon=":material/download:", help=HELP):
        row = st.container(horizontal=True)
        _button(row, "png", clip, lambda: sheet(shown), SHEET_HELP)
        _button(row, "mp4", clip, lambda: movie(shown[0], clip), MOVIE_HELP)
        _button(row, "npz", clip, numbers.archive, NUMBERS_HELP)


def _button(row, suffix: str, clip: Clip, data: Callable[[], bytes], tip: str) -> None:
    row.download_button(
        suffix,
        data=data,
        file_name=f"{clip.id}-embeddings.{suffix}",
        on_click="ignore",
        key=f"save_{suffix}",
        help=tip,
    )


def sheet(shown: list[View]) -> bytes:
    """All maps as a PNG: a row a map, a column a time step."""
    rows = [np.concatenate([_framed(step) for step in _enlarged(view)], axis=1) for view in shown]
    return figures.png_sheet(np.concatenate(rows)[None])


def movie(view: View, clip: Clip) -> bytes:
    """One map as an H.264 mp4 that lasts as long as the clip."""
    from decoder import media

    steps = _enlarged(view)
    return media.mp4_bytes(steps.repeat(len(clip.frames) // len(steps), axis=0), clip.fps)


def colours_of(view: View) -> UInt8[np.ndarray, "t h w 3"]:
    """The colours in which the screen shows a view; grey where it has no value."""
    if view.values is None:
        return view.colours
    table = np.frombuffer(figures.colour_table(), np.uint8).reshape(256, 3)
    share = (view.values - view.low) / (view.high - view.low)
    known = np.isfinite(share)
    index = np.rint(255 * np.where(known, share, 0).clip(0, 1)).astype(int)
    return np.where(known[..., None], table[index], np.uint8(128))


def _enlarged(view: View) -> UInt8[np.ndarray, "t H W 3"]:
    """Every patch as a square of one colour."""
    return colours_of(view).repeat(PATCH, axis=1).repeat(PATCH, axis=2)


def _framed(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.pad(picture, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
