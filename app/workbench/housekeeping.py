"""At start the model is opened; every few seconds since, what nobody needs ends."""

from __future__ import annotations

import ctypes
import os
import time
from concurrent.futures import Future
from threading import Thread

import streamlit as st
from streamlit import runtime
from streamlit.logger import get_logger

from app.workbench import models
from app.workbench.live import the_watched
from app.workbench.memory import the_memory
from app.workbench.queue import threads
from app.workbench.rooms import all_rooms, model_room
from app.workbench.uploads import all_guests, set_quota

EVERY = 5.0
"""Seconds."""
HAND_BACK = 10.0
"""Seconds between two times that freed memory is handed back to the system."""
FIRST_PAINT = 2.0
"""Seconds that belong to the first page of a server that opened no model before: importing torch
would hold it up."""

log = get_logger(__name__)


@st.cache_resource(show_spinner=False)
def keep_house() -> Thread:
    """Starts it, once a server, and tells the log what the server works with."""
    log.info(
        "%d threads (OMP_NUM_THREADS %s), which wait %sly (OMP_WAIT_POLICY); "
        "%.1f GB are kept at most (--memory)",
        *(threads(), os.environ.get("OMP_NUM_THREADS", "not set")),
        *(os.environ["OMP_WAIT_POLICY"], the_memory().budget / 1e9),
    )
    set_quota()
    thread = Thread(target=_keep, name="housekeeping", daemon=True)
    thread.start()
    return thread


def open_default() -> Future:
    """Opens the model that a visitor sees who asks for none, unless it is open; never waits for it.

    Returns:
        What gives its Explorer.
    """
    opening = model_room(models.default()).open()
    opening.add_done_callback(_tell_failure)
    opening.add_done_callback(_import_charts)
    return opening


def _import_charts(_: Future) -> None:
    """Imports what the first page with a chart or a table would have to wait for."""
    import pandas  # noqa: F401
    import plotly.graph_objects as go

    go.Figure(go.Bar(x=[1])).update_xaxes(title="").update_layout(height=100)  # imports its parts


def _tell_failure(opening: Future) -> None:
    """Whoever runs the server is to know before a visitor does."""
    if not opening.cancelled() and (error := opening.exception()):
        log.error("%s could not be opened: %s", models.default().title, error)


def _has_visitors() -> bool:
    """Whether there is a server, and a browser connected to it."""
    connected = runtime.RuntimeState.ONE_OR_MORE_SESSIONS_CONNECTED
    return runtime.exists() and runtime.get_instance().state is connected


def _keep() -> None:
    if _has_visitors():
        time.sleep(FIRST_PAINT)
        open_default()
    due = time.monotonic()
    while True:
        time.sleep(EVERY)
        try:
            sweep()
            if time.monotonic() >= due:
                hand_back()
                due = time.monotonic() + HAND_BACK
        except Exception:  # whatever it was: without the next sweep the memory fills
            log.exception("What nobody needs was not swept up; it is tried again.")


def sweep() -> None:
    """Ends what nobody needs any more."""
    all_rooms().sweep()
    all_guests().sweep()
    the_watched().sweep()
    the_memory().forget_old()


def hand_back() -> None:
    """Hands freed memory back to the system.

    glibc keeps what each thread freed for its next request: with a thread a visitor the server
    would grow though nothing is kept. Other C libraries hand back by themselves.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
