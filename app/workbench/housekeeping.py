"""What is done at start and every few seconds since: rooms and memory that nobody needs end."""

from __future__ import annotations

import os
import time
from threading import Thread

import streamlit as st
from streamlit.logger import get_logger

from app.workbench.live import the_watched
from app.workbench.memory import the_memory
from app.workbench.rooms import all_rooms
from app.workbench.uploads import all_guests, set_quota

EVERY = 5.0
"""Seconds."""

log = get_logger(__name__)


@st.cache_resource(show_spinner=False)
def keep_house() -> Thread:
    """Starts it, once a server, and tells the log what the server works with."""
    log.info(
        "%d threads (OMP_NUM_THREADS %s), which wait %sly (OMP_WAIT_POLICY); "
        "%.1f GB are kept at most (--memory)",
        *(_cores(), os.environ.get("OMP_NUM_THREADS", "not set")),
        *(os.environ["OMP_WAIT_POLICY"], the_memory().budget / 1e9),
    )
    set_quota()
    thread = Thread(target=_keep, name="housekeeping", daemon=True)
    thread.start()
    return thread


def _keep() -> None:
    while True:
        time.sleep(EVERY)
        try:
            sweep()
        except Exception:
            log.exception("Housekeeping failed; it goes on.")


def sweep() -> None:
    """Ends what nobody needs any more."""
    all_rooms().sweep()
    all_guests().sweep()
    the_watched().sweep()
    the_memory().forget_old()


def _cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
