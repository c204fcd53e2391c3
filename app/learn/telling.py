"""What every lesson has: a clip, a model to ask, a question with its answer, a way on."""

from __future__ import annotations

import html
from typing import Any, TypeVar
from urllib.parse import urlencode

import numpy as np
import streamlit as st
from jaxtyping import Bool

from app.workbench.clip import Clip, ClipAddress, load_clip
from app.workbench.figures import to_link
from app.workbench.models import BUNDLED, DEMO

BARE = {"displayModeBar": False}

Result = TypeVar("Result")


def lesson_clip(name: str) -> Clip:
    """A bundled clip, as the bundled model sees it."""
    return load_clip(ClipAddress("bundled", name), DEMO)


def question(asked: str, answer: str) -> None:
    """The question that a lesson ends with; its answer is folded."""
    st.markdown(f"**A question.** {asked}")
    with st.expander("The answer"):
        st.markdown(answer)


def onward(label: str, page: str, clip: Clip, mask: Bool[np.ndarray, "t h w"], **more: Any) -> None:
    """A link into another page, with what the lesson shows.

    Args:
        label: where it leads.
        page: its path.
        clip: the lesson's.
        mask: the lesson's.
        more: other parts of the link.
    """
    parts = {"model": BUNDLED, "clip": f"bundled-{clip.bundled}", "mask": to_link(mask), **more}
    link = html.escape(f"{page}?{urlencode(parts)}", quote=True)
    st.html(f'<a class="onward" href="{link}" target="_self">{html.escape(label)} →</a>')
