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

from app.workbench import figures, links
from app.workbench.catalogue import opening_frame
from app.workbench.clip import load_clip
from app.workbench.memory import kept
from app.workbench.models import DEMO
from app.workbench.session import ASSETS, start_state

FILE = ASSETS / "gallery.json"
SIDE = 224
"""Pixels of a picture."""
SHADE = 0.35
"""Brightness of what is hidden."""


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
    alt = f"The clip of this view; what is hidden is dark: {title}"
    return (
        f'<a href="{link}" target="_self"><img src="{source}" alt="{alt}">'
        f"<strong>{title}</strong><span>{told}</span></a>"
    )


@kept
def picture(link: str, _view: Curated) -> bytes:
    """The frame that the view opens at, as a JPEG; what is hidden is dark.

    Raises:
        InputError: the link means nothing.
    """
    state = start_state()
    links.read_query(_view.query, state)
    clip = load_clip(state.address, DEMO)
    count, side, *_ = clip.frames.shape
    frame = opening_frame(state.address.name, state.mask, count)
    hidden = state.mask[frame * len(state.mask) // count]
    dark = hidden.repeat(side // len(hidden), 0).repeat(side // hidden.shape[1], 1)
    shown = np.where(dark[..., None], clip.frames[frame] * SHADE, clip.frames[frame])
    large = cv2.resize(shown.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return figures.jpeg_sheet(large[None])
