"""The pieces of the screen that Streamlit has no widget for, and what they are told.

Each is a Components-v2 component without a build step: HTML, CSS and JavaScript as files beside
this one. `stage.js` goes into the painter and the panels both: it is the clip, the mask and the
clock that they share in the browser, so the panels play in step with the painter.

Each piece gets its own bytes and only when they change: the painter the clip, the panels an answer.
A stroke therefore sends one small mask up and only decoded pixels down.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float, UInt8

from app.workbench import figures
from app.workbench.clip import Clip
from app.workbench.figures import to_bits
from app.workbench.memory import kept

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


@dataclass(frozen=True)
class View:
    """A canvas that plays the clip with one colour or one number a token over it.

    Attributes:
        name: what tests find it by.
        title: under it.
        tip: the tooltip, for a student.
        values: one number a token, coloured by cividis from `low` to `high`; NaN shows the clip.
        low, high: ends of the colour scale.
        unit: what the numbers are, with the one under the pointer.
        colours: one RGB colour a token, in place of values.
        outline: tokens with a line around them, besides the selected ones.
        drops_hidden: whether hidden tokens are hatched, as the model does not see them here.
    """

    name: str
    title: str
    tip: str
    values: Float[np.ndarray, "t h w"] | None = None
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    colours: UInt8[np.ndarray, "t h w 3"] | None = None
    outline: frozenset[int] = frozenset()
    drops_hidden: bool = False


@dataclass(frozen=True)
class Panel:
    """A canvas that plays the clip with a part of an answer in place of the hidden tokens.

    Attributes:
        name: what tests find it by.
        kind: "original" and "masked" show the clip; "pixels" a sheet of frames as JPEG, "values"
            one float32 a token, coloured by cividis, "colours" three bytes a token; "frames" a
            sheet that is shown whole, whatever the painter shows.
        title: under it.
        tip: the tooltip, for a student.
        side: what stands beside the title.
        data: the bytes of its kind; none while there is no answer.
        scale: the values at the two ends of the colours.
    """

    name: str
    kind: Literal["original", "masked", "pixels", "values", "colours", "frames"]
    title: str
    tip: str
    side: str = ""
    data: bytes = b""
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class Part:
    """A part of the clip's way through the model.

    Attributes:
        name: how `way.js` draws its picture.
        title: under it.
        told: what it is, in two sentences; {tokens}, {hidden} and their like are filled in.
        source: the file that it is in.
        branch: whether it stands beside the way.
    """

    name: str
    title: str
    told: str
    source: str
    branch: bool = False


@dataclass(frozen=True)
class Stop:
    """A stop of the tour.

    Attributes:
        place: a CSS selector of what is spoken of.
        title: in a few words.
        told: in a sentence or two.
    """

    place: str
    title: str
    told: str


def _component(name: str, *files: str):
    """Registers one piece: its .html, and its styles and scripts one after the other."""
    styles = ("common.css", *(file for file in files if file.endswith(".css")), f"{name}.css")
    scripts = (file for file in files if file.endswith(".js"))
    return st.components.v2.component(
        f"vjepa_{name}",
        html=(HERE / f"{name}.html").read_text(encoding="utf-8"),
        css="\n".join((HERE / file).read_text(encoding="utf-8") for file in styles),
        js="\n".join((HERE / file).read_text(encoding="utf-8") for file in scripts),
    )


_picker = _component("picker", "wire.js", "picker.js")
_painter = _component(
    "painter", "screen.css", "wire.js", "stage.js", "ink.js", "icons.js", "painter.js"
)
_panels = _component("panels", "figure.css", "wire.js", "stage.js", "colour.js", "panels.js")
_views = _component(
    "views",
    *("figure.css", "screen.css"),
    *("wire.js", "stage.js", "colour.js", "ink.js", "views.js"),
)


_relay = _component("relay", "wire.js", "stage.js", "relay.js")


_way = _component("way", "wire.js", "stage.js", "colour.js", "tour.js", "way.js")


def way(parts: tuple[Part, ...], tour: tuple[Stop, ...], links: dict[str, str]) -> None:
    """The clip's way through the model, and a tour of the page.

    Args:
        parts: from left to right.
        tour: its stops.
        links: where to read on, by title.
    """
    told = {
        "parts": [asdict(part) for part in parts],
        "tour": [asdict(stop) for stop in tour],
        "links": links,
    }
    _way(key="way", data=_parcel(told, []))


def tell_asked(question: str) -> None:
    """Says at once what Python works at: answers to other questions are out of date from now on."""
    _relay(key="asked", data=_parcel({"question": question}, [b""]))


def tell_preview(question: str, clip: Clip, mask: Bool[np.ndarray, "t h w"], sheet: bytes) -> None:
    """Shows what is known of an answer before it is there.

    Args:
        question: to which it will be the answer.
        clip: what was asked about.
        mask: what was asked.
        sheet: the hidden pixels as JPEG.
    """
    told = {"question": question, "preview": {"clip": clip.id, "mask": _mask_note(mask)}}
    _relay(key="preview", data=_parcel(told, [sheet]))


def tell_query(query: str, key: str = "query") -> None:
    """Makes the address bar a link, where no panels or views do."""
    _relay(key=key, data=_parcel({"query": query}, []))


def picker(tiles: list[Tile], key: str) -> None:
    """A row of clips; a click arrives in the session state as `{"pick": name}`."""
    pictures = [figures.thumbnail(tile.clip.frames) if tile.clip else b"" for tile in tiles]
    told = [
        {"name": tile.name, "title": tile.title, "chosen": tile.chosen, "help": tile.help}
        for tile in tiles
    ]
    _picker(key=key, data=_parcel({"tiles": told}, pictures), on_pick_change=_nothing)


def painter(
    clip: Clip,
    mask: Bool[np.ndarray, "t h w"],
    rev: int,
    opening: int,
    key: str,
    *,
    picks: bool = False,
) -> None:
    """The playing clip, to paint on.

    Args:
        clip: what plays.
        mask: shown when `rev` is new; after that the browser owns the mask.
        rev: number of the mask.
        opening: the frame that the clip opens at.
        key: the session state gets `{"mask": {"clip", "rev", "bits"}}` under it at pointer-up, and
            `{"thing": {"clip", "id", "token"}}` when a thing was clicked that is to be hidden.
        picks: whether a press selects patches, unless another tool is chosen; it arrives as a
            view's "pick" does.
    """
    _painter(
        key=key,
        data=_parcel(
            {
                "clip": _clip_note(clip) | {"opening": opening},
                "mask": _mask_note(mask),
                "rev": rev,
                "picks": picks,
            },
            [_clip_sheet(clip)],
        ),
        on_mask_change=_nothing,
        on_thing_change=_nothing,
        on_pick_change=_nothing,
    )


def panels(
    clip: Clip,
    mask: Bool[np.ndarray, "t h w"],
    shown: list[Panel],
    *,
    question: str,
    waiting: bool,
    query: str,
) -> None:
    """What the model sees of the clip and what it answers, in step with the painter.

    Args:
        clip: the clip on the painter.
        mask: what was asked.
        shown: what to draw, five in a row.
        question: what was asked, in a word.
        waiting: whether an answer is on its way.
        query: the page's state, for the browser's address bar. (`st.query_params` would add a
            step to the browser's history at every stroke; here another clip is one.)
    """
    told = {
        "clip": {"id": clip.id},
        "mask": _mask_note(mask),
        "question": question,
        "waiting": waiting,
        "query": query,
    }
    _panels(key="panels", data=_panel_parcel(told, shown))


def fixed_panels(
    shown: Sequence[Panel],
    key: str,
    *,
    pairs: bool = False,
    film: tuple[int, float] | None = None,
) -> None:
    """Panels of kind "frames", which stay what they are and play in step with the painter.

    Args:
        shown: from left to right.
        key: tells one row from another.
        pairs: whether each two stand above each other.
        film: number of frames, and frames a second, on a page without a painter; the row gets a
            button that stops it.
    """
    told: dict = {"fixed": True, "pairs": pairs}
    if film:
        told["film"] = dict(zip(("frames", "fps"), film, strict=True))
    _panels(key=key, data=_panel_parcel(told, shown))


def _panel_parcel(told: dict, shown: Sequence[Panel]) -> bytes:
    words = ("name", "kind", "title", "tip", "side", "scale")
    told["panels"] = [{word: getattr(panel, word) for word in words} for panel in shown]
    return _parcel(told, [figures.colour_table(), *(panel.data for panel in shown)])


def views(clip: Clip, shown: list[View], selection: frozenset[int], query: str, key: str) -> None:
    """Canvases that play the painter's clip, each with one layer of token colours over it.

    Args:
        clip: the clip on the painter.
        shown: what to draw, from left to right.
        selection: tokens that are outlined in all of them.
        query: the page's state, for the browser's address bar.
        key: the session state gets `{"pick": {"clip", "id", "tokens"}}` under it when tokens are
            selected: by a click, by a drag over several, and with shift added to those before.
    """
    told = {
        "clip": clip.id,
        "query": query,
        "selection": sorted(selection),
        "views": [_view_note(view) for view in shown],
    }
    layers = [_layer(view) for view in shown]
    _views(key=key, data=_parcel(told, [figures.colour_table(), *layers]), on_pick_change=_nothing)


def _view_note(view: View) -> dict:
    note = {"name": view.name, "title": view.title, "tip": view.tip, "unit": view.unit}
    coloured = view.values is None
    grid = (view.colours if coloured else view.values).shape[:3]
    scale = None if coloured else (view.low, view.high)
    note |= {"grid": grid, "scale": scale, "outline": sorted(view.outline)}
    return note | {"dropsHidden": view.drops_hidden}


def _layer(view: View) -> bytes:
    if view.values is None:
        return view.colours.tobytes()
    return view.values.astype("<f4").tobytes()


@kept
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
