"""The frame that every page sits in: title, logo, margins, and what the page is for."""

from __future__ import annotations

import html
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent


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
    told = f"<h1>{html.escape(title)}</h1><p>{html.escape(purpose)}</p>"
    st.html(f'<header class="purpose">{told}</header>')
