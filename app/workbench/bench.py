"""What every page has in common: clips on top, the painter, and one fragment that a stroke runs.

Bad input becomes a sentence, and so does what nobody foresaw, with a reference number.

The clip, the mask and the selected tokens are the visitor's, not a page's: they stay from page to
page.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st
from streamlit.logger import get_logger

from app.workbench import components, links, top_row
from app.workbench.catalogue import opening_frame
from app.workbench.clip import Clip, clip_id
from app.workbench.figures import from_bits
from app.workbench.links import visitor
from app.workbench.models import DEMO
from app.workbench.queue import visitor_id
from app.workbench.rooms import ModelRoom, all_rooms, model_room, must_load
from app.workbench.session import State
from app.workbench.things import thing_at
from vjepa.errors import InputError

PAINTER = "painter"
VIEWS = "views"

LOADING = ":material/hourglass: The model is loading: this page fills as soon as it is here."
WORKING = "The model is at work."
LINK_HELP = (
    "This page with this clip, mask and selection, and how they are decoded, as a link. "
    "Uploads cannot be linked."
)

Draw = Callable[[State, Clip], None]


def nothing() -> None:
    """Most pages have nothing between the clips and the painter."""


def workbench(
    draw: Draw,
    *,
    needs_model: bool = True,
    picks: bool = False,
    above: Callable[[], None] = nothing,
) -> None:
    """The whole page: clips on top, the painter on the left, and what is drawn on the right.

    Args:
        draw: fills the right side; it may raise an InputError, which is shown as a sentence.
        needs_model: whether `draw` waits until the model is loaded.
        picks: whether a press on the clip asks about patches: the mask plays no part here.
        above: fills the place between the clips and the painter.
    """
    state = visitor()
    links.follow_history(state)
    arrive(state)
    all_rooms().enter(visitor_id(), *filter(None, (state.model.address, state.opening)))
    clip = top_row.choose(state)
    state.arrived = True
    components.tell_query(query(state), key="query_page")  # before any work: Back goes by it
    with st.container():  # there though empty: what comes after it keeps its place in the browser
        notes(state, clip)
    above()
    bench(clip, draw, needs_model, picks)
    if not awaited(state).ready:
        await_model()


def notes(state: State, clip: Clip) -> None:
    """What goes on, what was wrong, or what there is to know about the clip."""
    if state.opening:
        st.info(opening_note(state), icon=":material/hourglass:")
    if state.notice:
        st.warning(state.notice, icon=":material/error:")
    elif clip.note:
        st.info(clip.note, icon=":material/info:")


def awaited(state: State) -> ModelRoom:
    """The room of the model that is chosen, be it there or on its way."""
    return model_room(state.opening or state.model)


def arrive(state: State) -> None:
    """Puts the model that was chosen in place once it is loaded; one that is none gets a notice."""
    room = awaited(state)
    if not (state.opening and room.ready):
        return
    link, state.opening, state.link = state.link, None, {}
    try:
        state.adopt(room.model)
    except InputError as error:
        all_rooms().close(room.address)
        with suppress(InputError):
            links.read_rest(link, state)
        state.notice = str(error)
        return
    try:
        links.read_rest(link, state)
    except InputError as error:
        state.notice = str(error)


def opening_note(state: State) -> str:
    """What goes on while a model is loaded."""
    size = f", {state.opening.size}" if state.opening.size else ""
    answering = state.model.address.title
    return f"Opening {state.opening.title}{size}: until it is here, {answering} answers."


@st.fragment
def bench(clip: Clip, draw: Draw, needs_model: bool, picks: bool) -> None:
    """Painter and answers; all that a stroke or a click on a patch runs again."""
    state = visitor()
    drawn, chosen = (clip.model, clip.id), (state.model, clip_id(state.address, state.model))
    if drawn != chosen:  # another model came, or a button in here chose another clip
        st.rerun()
    left, right = st.columns([6, 11], gap="medium")
    with left:
        sentence = take_stroke(state, clip)
        for component in (PAINTER, VIEWS):
            take_pick(state, clip, component)
        take_thing(state, clip)
        opening = opening_frame(state.address.name, state.sent_mask, len(clip.frames))
        components.painter(clip, state.sent_mask, state.rev, opening, PAINTER, picks=picks)
        preset_row(state)
    with right:
        if sentence:
            st.warning(sentence, icon=":material/error:")
        if needs_model and must_load(state.model):
            model_room(state.model).open()
            st.markdown(LOADING)
        elif needs_model and state.model != DEMO:  # a large one is at work for seconds
            with st.spinner(WORKING, show_time=True), told_in_a_sentence():
                draw(state, clip)
        else:
            with told_in_a_sentence():
                draw(state, clip)


@st.fragment(run_every=1.0)
def await_model() -> None:
    """Loads the model once the browser has painted, and runs the page again when it is here.

    The first run belongs to the first paint, which importing torch would hold up; the second is
    the browser's own.
    """
    if open_awaited(visitor()):
        st.rerun()


def open_awaited(state: State) -> bool:
    """Starts loading the model that is awaited; whether it is here, or turned out to be none.

    One that could not be opened is not tried again: the run of the page says so.
    """
    room = awaited(state)
    if state.painted and not room.ready:
        room.open()
    state.painted = True
    return room.ready


def take_stroke(state: State, clip: Clip) -> str:
    """Takes over the mask that the browser painted on this clip since we last sent one.

    Returns:
        What is wrong with that mask, in a sentence, or nothing.
    """
    stroke = said(PAINTER, "mask")
    if stroke is None:  # a painter that was just mounted, here or after a visit to another page
        if state.mask is not state.sent_mask:
            state.send_mask(state.mask)
    elif stroke.get("clip") == clip.id and stroke.get("rev") == state.rev:
        try:
            state.mask = from_bits(stroke.get("bits"), state.mask.shape)
        except InputError as error:
            return str(error)
    return ""


def take_thing(state: State, clip: Clip) -> None:
    """Hides the thing that was clicked, in every time step; each click counts once.

    One that comes before the model waits for it: the page runs again when it is here.
    """
    thing = (st.session_state.get(PAINTER) or {}).get("thing")
    if not thing or thing["clip"] != clip.id or thing["id"] == state.last_thing:
        return
    if must_load(state.model):
        model_room(state.model).open()
        st.markdown(LOADING)
        return
    state.last_thing = thing["id"]
    with told_in_a_sentence():
        state.send_mask(state.mask | thing_at(clip, int(thing["token"]) % state.mask.size))


def take_pick(state: State, clip: Clip, component: str) -> None:
    """Takes over the tokens that were clicked in a component; each click counts once."""
    pick = said(component, "pick") or {}
    tokens, last = pick.get("tokens"), state.last_picks.get(component)
    if pick.get("clip") != clip.id or pick.get("id") in (None, last):
        return
    if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens):
        state.last_picks[component] = pick["id"]
        state.select(tokens)


def said(component: str, word: str) -> dict | None:
    """What one of our components last said; what is no note of it counts as nothing.

    Whoever speaks to the server without our page can say anything.
    """
    note = (st.session_state.get(component) or {}).get(word)
    return note if isinstance(note, dict) else None


def preset_row(state: State) -> None:
    """Masks by name, and the link to all this."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="presets"):
        for name, preset in MASK_BUTTONS.items():
            st.button(
                preset.label,
                key=f"preset_{name}",
                help=preset.help,
                on_click=lambda name=name: use_button(name, state),
            )
        with st.popover("Link", icon=":material/link:"):
            st.caption(LINK_HELP)
            page = (st.context.url or "").partition("?")[0]
            st.code(f"{page}?{query(state)}", language=None, wrap_lines=True)


def views(state: State, clip: Clip, shown: list[components.View]) -> None:
    """The page's canvases: they play in step with the painter; a click on one selects tokens."""
    with st.container(key=f"views_of_{len(shown)}"):  # window.css keeps a place for so many
        components.views(clip, shown, state.selection, query(state), key=VIEWS)


def query(state: State) -> str:
    """The state as the query of a link."""
    return urlencode(links.to_query(state))


@dataclass(frozen=True)
class MaskButton:
    """A button.

    Attributes:
        label: on the button.
        help: what a student should know about this mask.
    """

    label: str
    help: str


MASK_BUTTONS = {
    "short": MaskButton(
        "short",
        "**Short-range mask**, as in V-JEPA's training: 8 blocks of 15 % of the frame, through all "
        "time. Click again for another draw.",
    ),
    "long": MaskButton(
        "long",
        "**Long-range mask**, as in V-JEPA's training: 2 blocks of 70 % of the frame, through all "
        "time. Little is left to go by.",
    ),
    "tube": MaskButton(
        "tube",
        "**Tubes**: half of the patches, each hidden through all time, so that nothing can be "
        "copied from another moment.",
    ),
    "box": MaskButton("box", "**Box**: the middle of the frame, through all time."),
    "future": MaskButton(
        "future",
        "**Hide the future**: the model sees the first half of the clip and predicts the rest.",
    ),
    "random": MaskButton(
        "random",
        "**Random tokens**: half of all, scattered in space and time. Easy: a neighbour is nearly "
        "always visible.",
    ),
}


def use_button(name: str, state: State) -> None:
    """Puts the named mask on the clip; random ones are drawn anew each time."""
    import torch

    from vjepa import masks

    state.draws += 1
    generator = torch.Generator().manual_seed(state.draws)
    state.send_mask(masks.make(name, state.mask.shape, generator).numpy())


SORRY = (
    "Something went wrong here that is not your fault: reload the page, and tell who runs this "
    "server the number {reference} if it comes again."
)

log = get_logger(__name__)


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Shows what goes wrong in the block as a sentence; the page around it stays usable."""
    try:
        yield
    except InputError as error:
        st.warning(str(error), icon=":material/error:")
    except Exception as error:
        tell(error)


def tell(error: Exception) -> bool:
    """Says that there was an error, and where to find it; no path or value of it is shown.

    Returns:
        True: nothing more is to be shown.
    """
    reference = secrets.token_hex(4)
    log.error("Reference %s", reference, exc_info=error)
    st.error(SORRY.format(reference=reference), icon=":material/error:")
    return True
