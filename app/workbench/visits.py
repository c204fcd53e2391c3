"""Who asks: the visitor of this script run, and whether he still wants what he asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, wait
from typing import TypeVar

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from app.workbench.queue import the_queue

GLANCE = 0.1
"""Seconds between two looks at whether the visitor is still there."""

Result = TypeVar("Result")


def visitor_id() -> Hashable:
    """One word for a visitor, which each browser tab is; for code that is nobody's, a new one."""
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else object()


def is_here(visitor: Hashable) -> bool:
    """Whether a visitor's browser is connected; where no server runs, everybody is here."""
    if not (runtime.exists() and isinstance(visitor, str)):
        return True
    return runtime.get_instance().is_active_session(visitor)


def wait_for(future: Future[Result], *, shared: bool = False) -> Result:
    """The result of work, for as long as its visitor waits for it.

    Where he leaves, asks for something newer or goes to another page, this raises what ends the run
    of his script, and work that is not begun is withdrawn.

    Args:
        future: gives the result.
        shared: whether others wait for it too; then it is not withdrawn.
    """
    try:
        while not wait([future], GLANCE).done:
            heed(begun=future.running())
        return future.result()
    except CancelledError:
        st.stop()  # the visitor's newer question has taken its place
    finally:
        if not shared:
            future.cancel()  # nothing, where it is done


def in_turn(lane: Hashable, work: Callable[[], Result]) -> Result:
    """Does work of this visitor in a lane of the queue."""
    return wait_for(the_queue().submit(lane, visitor_id(), work))


def heed(begun: bool) -> None:
    """Ends the run of this visitor's script where he has left or there is something newer to run.

    Args:
        begun: whether work goes on that the newer run would want too: a stroke's answer is shown
            although the next stroke is on its way.
    """
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or context.script_requests is None:
        return
    st.session_state.get("visitor")  # looked at, it stops a script that is to stop or run anew
    if not begun and _is_overtaken(context):
        request = context.script_requests.on_scriptrunner_ready()
        if request.type is ScriptRequestType.RERUN:
            raise RerunException(request.rerun_data)
        st.stop()


def _is_overtaken(context) -> bool:
    """Whether the fragments that run now are to run again.

    Streamlit finishes a fragment before it runs it again: of ten strokes, painted while the queue
    was long, the first would be answered before the last.
    """
    requests, running = context.script_requests, context.fragment_ids_this_run
    if not running or requests._state is not ScriptRequestType.RERUN:
        return False
    wanted = requests._rerun_data
    return not wanted.is_auto_rerun and set(running) <= set(wanted.fragment_id_queue)
