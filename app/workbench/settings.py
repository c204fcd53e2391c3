"""Settings of a page that stay when the visitor goes to another, and go into the link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.workbench.links import visitor
from app.workbench.session import answer_of

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

UNKNOWN = "{name} cannot be here what it was or what the link says: the usual one is shown."


def segments(place: DeltaGenerator, name: str, options: Sequence, default: Any, **look: Any) -> Any:
    """One of a few, side by side.

    Args:
        place: where.
        name: in the link; one of `links.SETTINGS`.
        options: to choose from.
        default: where nobody chose.
        look: `label`, `key` and what else `st.segmented_control` takes.
    """
    chosen = value_of(name, options, default)
    answer = place.segmented_control(
        options=options, default=chosen, required=True, **_keeping(name, default, look)
    )
    return chosen if answer is None else answer  # what a browser says may be none of the options


def slider(place: DeltaGenerator, name: str, options: Sequence, default: Any, **look: Any) -> Any:
    """One of many, in order; arguments as for `segments`."""
    chosen = value_of(name, options, default)
    return place.select_slider(options=options, value=chosen, **_keeping(name, default, look))


def menu(place: DeltaGenerator, name: str, options: Sequence, default: Any, **look: Any) -> Any:
    """One of several, folded away; arguments as for `segments`."""
    index = list(options).index(value_of(name, options, default))
    return place.selectbox(options=options, index=index, **_keeping(name, default, look))


def toggle(place: DeltaGenerator, name: str, default: bool, **look: Any) -> bool:
    """On or off; arguments as for `segments`."""
    chosen = value_of(name, (True, False), default)
    return place.toggle(value=chosen, **_keeping(name, default, look))


def value_of(name: str, options: Sequence, default: Any) -> Any:
    """What is chosen now; what a link asks for and is not there is forgotten, in a sentence."""
    kept = visitor().settings.get(name)
    if kept is None:
        return default
    for option in options:
        if str(option) == kept:
            return option
    del visitor().settings[name]
    st.warning(UNKNOWN.format(name=name), icon=":material/error:")
    return default


def keep(name: str, value: Any, default: Any) -> None:
    """Keeps a choice; the default needs no keeping."""
    settings = visitor().settings
    settings.pop(name, None)
    if value != default:
        settings[name] = str(value)


def _keeping(name: str, default: Any, look: dict[str, Any]) -> dict[str, Any]:
    """The look of a widget that keeps what it is set to."""

    def changed() -> None:
        if (answer := answer_of(look["key"])) is not None:
            keep(name, answer, default)

    return {"on_change": changed, **look}
