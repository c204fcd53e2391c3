"""The frame that every page sits in: title, logo, margins."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent


def dress() -> None:
    """Sets the window's title, width, logo and margins; the first call of every page."""
    st.set_page_config(
        page_title="V-JEPA Explorer", page_icon=str(HERE / "icon.svg"), layout="wide"
    )
    st.logo(HERE / "logo.svg", size="large")
    st.html(HERE / "window.css")
