"""The three pieces of the screen that Streamlit has no widget for, and what they are told.

Each is a Components-v2 component without a build step: HTML, CSS and JavaScript as files beside
this one. `stage.js` goes into the painter and the panels both: it is the clip, the mask and the
clock that they share in the browser, so the panels play in step with the painter.

Each piece gets its own bytes and only when they change: the painter the clip, the panels an answer.
A stroke therefore sends one small mask up and only decoded pixels down.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Bool

from app import figures
from app.answers import Answer
from app.mask_bits import to_bits
from app.sources import Clip

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tile:
    """One clip to choose.

    Attributes:
        name: what a click on it sends.
        title: on the screen.
        clip: for the picture; None = a drawn icon.
        chosen: whether it is the clip on screen.
        help: what there is to know.
    """

    name: str
    title: str
    clip: Clip | None
    chosen: bool
    help: str = ""


def _component(name: str, *scripts: str):
    """Registers one piece: its .html and .css, and the scripts one after the other."""
    return st.components.v2.component(
        f"vjepa_{name}",
        html=(HERE / f"{name}.html").read_text(encoding="utf-8"),
        css="\n".join(
            (HERE / file).read_text(encoding="utf-8") for file in ("common.css", f"{name}.css")
        ),
        js="\n".join((HERE / file).read_text(encoding="utf-8") for file in scripts),
    )


_picker = _component("picker", "wire.js", "picker.js")
_painter = _component("painter", "wire.js", "stage.js", "ink.js", "painter.js")
_panels = _component("panels", "wire.js", "stage.js", "panels.js")


def picker(tiles: list[Tile], key: str) -> None:
    """A row of clips; a click arrives in the session state as `{"pick": name}`."""
    pictures = [figures.thumbnail(tile.clip.frames) if tile.clip else b"" for tile in tiles]
    told = [
        {"name": tile.name, "title": tile.title, "chosen": tile.chosen, "help": tile.help}
        for tile in tiles
    ]
    _picker(key=key, data=_parcel({"tiles": told}, pictures), on_pick_change=_nothing)


def painter(clip: Clip, mask: Bool[np.ndarray, "t h w"], rev: int, key: str) -> None:
    """The playing clip, to paint on.

    Args:
        clip: what plays.
        mask: shown when `rev` is new; after that the browser owns the mask.
        rev: number of the mask.
        key: the session state gets `{"mask": {"clip", "rev", "bits"}}` under it at pointer-up.
    """
    _painter(
        key=key,
        data=_parcel(
            {"clip": _clip_note(clip), "mask": _mask_note(mask), "rev": rev}, [_clip_sheet(clip)]
        ),
        on_mask_change=_nothing,
    )


def panels(
    clip: Clip, mask: Bool[np.ndarray, "t h w"], answer: Answer | None, *, waiting: bool, query: str
) -> None:
    """The clip, what the model sees of it, and what it answers, in step with the painter.

    Args:
        clip: the clip on the painter.
        mask: what was asked.
        answer: what was answered, if anything.
        waiting: whether an answer is on its way.
        query: the page's state, for the browser's address bar. (`st.query_params` would add a
            step to the browser's history at every stroke.)
    """
    told = {"clip": {"id": clip.id}, "mask": _mask_note(mask), "seeds": []}
    told |= {"waiting": waiting, "query": query}
    pictures = []
    if answer:
        told |= {"seeds": answer.question.seeds, "range": answer.error_range()}
        error = answer.error.astype("<f4").tobytes()
        pictures = [figures.colour_table(), error, answer.ceiling, *answer.samples]
    _panels(key="panels", data=_parcel(told, pictures))


@st.cache_data(show_spinner=False, max_entries=64)
def _clip_sheet_of(clip_id: str, _clip: Clip) -> bytes:
    return figures.png_sheet(_clip.frames)


def _clip_sheet(clip: Clip) -> bytes:
    return _clip_sheet_of(clip.id, clip)


def _clip_note(clip: Clip) -> dict:
    frames, size = clip.frames.shape[:2]
    return {"id": clip.id, "title": clip.title, "frames": frames, "size": size, "fps": clip.fps}


def _mask_note(mask: Bool[np.ndarray, "t h w"]) -> dict:
    return {"grid": mask.shape, "bits": to_bits(mask)}


def _parcel(note: dict, blobs: list[bytes]) -> bytes:
    """A JSON note and the blobs it speaks of as one: only bare bytes cross without a detour."""
    header = json.dumps({**note, "sizes": [len(blob) for blob in blobs]}).encode()
    return b"".join((struct.pack("<I", len(header)), header, *blobs))


def _nothing() -> None:
    """Registers a state of a component; the page reads it from the session state."""
