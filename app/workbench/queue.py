"""Where questions wait: one queue for all models, fair to visitors; and who waits for an answer."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from threading import Condition, Thread, current_thread
from typing import Any, TypeVar

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

LINGER = 10.0
"""Seconds after which a thread without work ends."""
REMEMBERED = 1000
"""Visitors whose last turn is known; who is forgotten counts as new."""

Result = TypeVar("Result")


def threads() -> int:
    """With which torch computes in all lanes: as many as OpenMP is told, by default the cores."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(told) if told.isdecimal() and int(told) else cores()


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(eq=False)
class Ticket:
    """Work that waits for its turn.

    Attributes:
        visitor: for whom.
        work: what is to do.
        threads: with which torch computes then.
        future: gives its result; cancelled where a newer question has taken its place.
    """

    visitor: Hashable
    work: Callable[[], Any]
    threads: int
    future: Future = field(default_factory=Future)


class FairQueue:
    """Work in lanes: those of different lanes run side by side, in one lane one after the other.

    A lane may have several seats: so much of its work runs side by side, each with its share of the
    threads, always the same, so that an answer has the same bits however many wait.

    A model is a lane, and so is each kind of long work (opening a model, making a bank), so that
    none of it stands before a question to another model. In a lane the visitor goes first who has
    waited longest since his last turn, or since he came: whoever comes anew again and again, with
    a new tab each time, keeps nobody out. Of a visitor's questions only the newest counts.
    """

    def __init__(self) -> None:
        self.changed = Condition()
        self.lanes: dict[Hashable, list[Ticket]] = {}
        self.threads: dict[Hashable, list[Thread]] = {}
        self.turns: OrderedDict[Hashable, int] = OrderedDict()
        self.turn = 0

    def submit(
        self, lane: Hashable, visitor: Hashable, work: Callable[[], Result], seats: int = 1
    ) -> Future[Result]:
        """Puts work into a lane; a visitor's work that waits there already is dropped.

        The future can be cancelled until the work begins.
        """
        ticket = Ticket(visitor, work, max(1, threads() // seats))
        with self.changed:
            waiting = self.lanes.setdefault(lane, [])
            for older in [other for other in waiting if other.visitor == visitor]:
                waiting.remove(older)
                older.future.cancel()
                older.future.set_running_or_notify_cancel()  # wakes who waits for it
            waiting.append(ticket)
            self.turns.setdefault(visitor, self.turn)
            if len(self.threads.setdefault(lane, [])) < seats:
                self._start(lane)
            self.changed.notify_all()
        return ticket.future

    def waiting(self, lane: Hashable) -> int:
        """How much work of a lane is not begun."""
        with self.changed:
            return sum(not ticket.future.cancelled() for ticket in self.lanes.get(lane, ()))

    def _start(self, lane: Hashable) -> None:
        thread = Thread(target=self._serve, args=(lane,), name=f"lane {lane}", daemon=True)
        self.threads[lane].append(thread)
        thread.start()

    def _serve(self, lane: Hashable) -> None:
        """Does the work of a lane until there has been none for a while."""
        while ticket := self._next(lane):
            # of this thread, and of those to come; torch may yet be on its way, or not needed
            if set_threads := getattr(sys.modules.get("torch"), "set_num_threads", None):
                set_threads(ticket.threads)
            try:
                ticket.future.set_result(ticket.work())
            except BaseException as error:
                ticket.future.set_exception(error)
            del ticket  # its result is the asker's; here it would stay until the next one comes

    def _next(self, lane: Hashable) -> Ticket | None:
        with self.changed:
            while True:
                if ticket := self._take(lane):
                    return ticket
                if not self.changed.wait_for(lambda: self.lanes[lane], LINGER):
                    self._leave(lane)
                    return None

    def _leave(self, lane: Hashable) -> None:
        """Ends this thread's place in a lane, and with its last one the lane."""
        self.threads[lane].remove(current_thread())
        if not self.threads[lane]:
            del self.lanes[lane], self.threads[lane]

    def _take(self, lane: Hashable) -> Ticket | None:
        """The ticket whose turn it is; those that were cancelled are dropped."""
        waiting = self.lanes[lane]
        waiting.sort(key=lambda ticket: self.turns.get(ticket.visitor, 0))  # else as they came
        while waiting:
            ticket = waiting.pop(0)
            if ticket.future.set_running_or_notify_cancel():
                self._note_turn(ticket.visitor)
                return ticket
        return None

    def _note_turn(self, visitor: Hashable) -> None:
        self.turn += 1
        self.turns[visitor] = self.turn
        self.turns.move_to_end(visitor)
        while len(self.turns) > REMEMBERED:
            self.turns.popitem(last=False)


@st.cache_resource(show_spinner=False)
def the_queue() -> FairQueue:
    """The queue of this server."""
    return FairQueue()


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

    Raises:
        CancelledError: another question of the visitor has taken its place.
    """
    try:
        while not wait([future], GLANCE).done:
            heed(begun=future.running())
        return future.result()
    finally:
        if not shared:
            future.cancel()  # nothing, where it is done


def in_turn(lane: Hashable, work: Callable[[], Result], seats: int = 1) -> Result:
    """Does work of this visitor in a lane of the queue.

    Two runs of his script may ask at once: Streamlit begins the newer one before the older one has
    seen that it is to stop. Should the older one ask last, it takes the newer one's place; so the
    run that goes on asks again, and the one that does not ends here.
    """
    while True:
        try:
            return wait_for(the_queue().submit(lane, visitor_id(), work, seats))
        except CancelledError:
            heed(begun=False)


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
            wanted = request.rerun_data
            if not context.fragment_ids_this_run:  # then the rest of the page is to be drawn too
                wanted = replace(wanted, fragment_id_queue=[])
            raise RerunException(wanted)
        st.stop()


def overtaken() -> Callable[[], bool]:
    """A question for any thread: is this visitor's run to give way to a newer one by now?"""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or context.script_requests is None:
        return lambda: False
    return lambda: _is_overtaken(context)


def _is_overtaken(context) -> bool:
    """Whether the fragments that run now, or those of the page that does, are to run again.

    Streamlit finishes a fragment or a page before it runs a fragment again: of ten strokes, painted
    while the queue was long, the first would be answered before the last. It has no public word for
    what waits to run; where a later Streamlit has other private ones, each stroke is answered, and
    a test tells.
    """
    requests = context.script_requests
    wanted = getattr(requests, "_rerun_data", None)
    if wanted is None or getattr(requests, "_state", None) is not ScriptRequestType.RERUN:
        return False
    asked = set(wanted.fragment_id_queue)
    running = set(context.fragment_ids_this_run or asked)
    return bool(asked) and not wanted.is_auto_rerun and running <= asked
