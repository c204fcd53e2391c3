"""Page "Gallery": views worth seeing, each a link; they are data, `assets/gallery.json`."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from urllib.parse import urlencode

import cv2
import numpy as np
import streamlit as st
from jaxtyping import Bool, UInt8

from app.workbench import figures, links
from app.workbench.catalogue import opening_frame
from app.workbench.clip import load_clip
from app.workbench.memory import kept
from app.workbench.models import DEMO
from app.workbench.session import ASSETS, State, start_state

FILE = ASSETS / "gallery.json"
SCENES = ASSETS / "gallery"
"""Pictures of views that show another clip than the painter's: `app.make_first_view`."""
SIDE = 224
"""Pixels of a picture."""
SHADE = 0.35
"""Brightness of what is hidden, or not selected."""
ALT = "The clip of this view; what is hidden is dark"
ALTS = {
    "similarity": "The clip of this view; what is selected is bright",
    "embeddings": "The clip of this view",
    "surprise": "The impossible clip of this view",
}


@dataclass(frozen=True)
class Curated:
    """A view worth seeing.

    Attributes:
        title: what it shows.
        page: the path of its page.
        query: the rest of its link.
        told: what to notice.
    """

    title: str
    page: str
    query: dict[str, str]
    told: str

    @property
    def link(self) -> str:
        """Its address, from any page of the app."""
        return f"{self.page}?{urlencode(self.query)}"


def page() -> None:
    """All views, side by side."""
    cards = "".join(card(view) for view in curated())
    st.html(f'<div class="gallery">{cards}</div>')


@st.cache_data(show_spinner=False)
def curated() -> list[Curated]:
    """The views, in order."""
    return [Curated(**entry) for entry in json.loads(FILE.read_text(encoding="utf-8"))]


def card(view: Curated) -> str:
    """A view as HTML: its picture, what it shows, what to notice."""
    source = f"data:image/jpeg;base64,{base64.b64encode(picture(view.link, view)).decode()}"
    title, told = html.escape(view.title), html.escape(view.told)
    link = html.escape(view.link, quote=True)
    alt = f"{ALTS.get(view.page, ALT)}: {title}"
    return (
        f'<a href="{link}" target="_self"><img src="{source}" alt="{alt}">'
        f"<strong>{title}</strong><span>{told}</span></a>"
    )


@kept
def picture(link: str, _view: Curated) -> bytes:
    """What the view is about, as a JPEG: the frame that it opens at, or the scene that it shows.

    Raises:
        InputError: the link means nothing.
    """
    if "happens" in _view.query:
        return (SCENES / f"{_view.query['happens']}.jpg").read_bytes()
    state = start_state()
    links.read_query(_view.query, state)
    clip = load_clip(state.address, DEMO)
    dark = darkened(_view.page, state)
    count, side, *_ = clip.frames.shape
    if _view.page == "similarity":
        step = int((~dark).sum((1, 2)).argmax())
        frame = step * count // len(dark)
    else:
        frame = opening_frame(state.address.name, state.mask, count)
    shade = dark[frame * len(dark) // count]
    wide = shade.repeat(side // len(shade), 0).repeat(side // shade.shape[1], 1)
    shown = np.where(wide[..., None], clip.frames[frame] * SHADE, clip.frames[frame])
    return large_jpeg(shown.astype(np.uint8))


def darkened(page: str, state: State) -> Bool[np.ndarray, "t h w"]:
    """The tokens that are dark in the picture: hidden, or not selected where the mask says nothing.

    Args:
        page: the path of the view's page.
        state: as its link has it.
    """
    if page == "embeddings":
        return np.zeros_like(state.mask)
    if page != "similarity":
        return state.mask
    dark = np.ones_like(state.mask)
    dark.flat[list(state.selection)] = False
    return dark


def large_jpeg(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A frame as a picture of a card."""
    large = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return figures.jpeg_sheet(large[None])
