"""The frame that every page sits in: title, logo, margins, and what the page is for."""

from __future__ import annotations

import html
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
HEADING = "margin: 0; padding: 0; font-size: 1.15rem; font-weight: 650"
"""In its place at once, as styles that come later are not."""


def dress(title: str, purpose: str) -> None:
    """Sets the window's title, width, logo and margins, and heads the page.

    Args:
        title: of the page.
        purpose: what to do there, in a sentence.
    """
    st.set_page_config(
        page_title=f"{title} · V-JEPA Explorer", page_icon=str(HERE / "icon.svg"), layout="wide"
    )
    st.logo(HERE / "logo.svg", size="large")
    st.html(HERE / "window.css")
    told = f'<h1 style="{HEADING}">{html.escape(title)}</h1><p>{html.escape(purpose)}</p>'
    st.html(f'<header class="purpose">{told}</header>')
