"""What visitors bring: a quota for each and for all, and gone when they are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.logger import get_logger

from app.workbench.clip import UPLOAD_LIMIT
from app.workbench.memory import the_memory
from app.workbench.queue import is_here
from app.workbench.session import State

EACH = 2 * UPLOAD_LIMIT * 2**20
"""Bytes that wait on the server for one visitor: a file, and the one that takes its place."""
SHARE = 0.25
"""Of the memory, for the files of all visitors."""
FULL = 413, "Too many uploads: remove a file, or try again later."

log = get_logger(__name__)


class Guests:
    """The visitors of this server, as far as they brought something."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.states: dict[Hashable, weakref.ref[State]] = {}

    def welcome(self, visitor: Hashable, state: State) -> None:
        """A visitor is here."""
        with self.lock:
            self.states[visitor] = weakref.ref(state)

    def sweep(self) -> None:
        """Forgets the files of those who have left, and all that was made of them."""
        with self.lock:
            gone = [visitor for visitor in self.states if not is_here(visitor)]
            left = [state for visitor in gone if (state := self.states.pop(visitor)())]
            brought = {digest for state in left for digest in state.forget_uploads()}
            here = [state for known in self.states.values() if (state := known())]
        for digest in brought - {digest for state in here for digest in state.digests}:
            the_memory().forget(lambda key, digest=digest: digest in repr(key))
        _remove_files()


@st.cache_resource(show_spinner=False)
def all_guests() -> Guests:
    """The visitors of this server."""
    return Guests()


def set_quota() -> None:
    """Has the server refuse uploads beyond the quota; before a script of ours has seen them.

    Streamlit limits the size of one file, not their number: whoever sends on and on fills the
    memory, whether the page takes the files or not.
    """
    if runtime.exists():
        manager = runtime.get_instance().uploaded_file_mgr
        manager.add_file = within_quota(manager, manager.add_file)


def within_quota(manager: Any, add_file: Callable[..., None]) -> Callable[..., None]:
    """`add_file` of Streamlit's upload manager, but for what is too much."""

    def add(session_id: str, file: Any) -> None:
        from starlette.exceptions import HTTPException

        sizes = {
            visitor: sum(len(one.data) for one in list(files.values()))
            for visitor, files in list(manager.file_storage.items())
        }
        before = manager.file_storage.get(session_id, {}).get(file.file_id)
        if before:
            sizes[session_id] -= len(before.data)
        new, most = len(file.data), SHARE * the_memory().budget
        if sizes.get(session_id, 0) + new > EACH or sum(sizes.values()) + new > most:
            log.warning("An upload of %.0f MB was refused: the quota is used up.", new / 1e6)
            raise HTTPException(*FULL)
        add_file(session_id, file)

    return add


def _remove_files() -> None:
    if runtime.exists():
        manager = runtime.get_instance().uploaded_file_mgr
        for visitor in list(manager.file_storage):
            if not is_here(visitor):
                manager.remove_session_files(visitor)
