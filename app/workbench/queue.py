"""Where questions wait: one queue for all models, fair to visitors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, TypeVar

import streamlit as st

LINGER = 10.0
"""Seconds after which a thread without work ends."""
REMEMBERED = 1000
"""Visitors whose last turn is known; who is forgotten goes first."""

Result = TypeVar("Result")


@dataclass(eq=False)
class Ticket:
    """Work that waits for its turn.

    Attributes:
        visitor: for whom.
        work: what is to do.
        future: gives its result; cancelled where a newer question has taken its place.
    """

    visitor: Hashable
    work: Callable[[], Any]
    future: Future = field(default_factory=Future)


class FairQueue:
    """Work in lanes: those of different lanes run side by side, in one lane one after the other.

    A model is a lane, and so is each kind of long work (opening a model, making a bank), so that
    none of it stands before a question to another model. In a lane the visitor goes first who has
    waited longest since his last turn, and of a visitor's questions only the newest counts.
    """

    def __init__(self) -> None:
        self.changed = Condition()
        self.lanes: dict[Hashable, list[Ticket]] = {}
        self.threads: dict[Hashable, Thread] = {}
        self.turns: OrderedDict[Hashable, int] = OrderedDict()
        self.turn = 0

    def submit(
        self, lane: Hashable, visitor: Hashable, work: Callable[[], Result]
    ) -> Future[Result]:
        """Puts work into a lane; a visitor's work that waits there already is dropped.

        The future can be cancelled until the work begins.
        """
        ticket = Ticket(visitor, work)
        with self.changed:
            waiting = self.lanes.setdefault(lane, [])
            for older in [other for other in waiting if other.visitor == visitor]:
                waiting.remove(older)
                older.future.cancel()
                older.future.set_running_or_notify_cancel()  # wakes who waits for it
            waiting.append(ticket)
            if lane not in self.threads:
                self._start(lane)
            self.changed.notify_all()
        return ticket.future

    def waiting(self, lane: Hashable) -> int:
        """How much work of a lane is not begun."""
        with self.changed:
            return sum(not ticket.future.cancelled() for ticket in self.lanes.get(lane, ()))

    def _start(self, lane: Hashable) -> None:
        thread = Thread(target=self._serve, args=(lane,), name=f"lane {lane}", daemon=True)
        self.threads[lane] = thread
        thread.start()

    def _serve(self, lane: Hashable) -> None:
        """Does the work of a lane until there has been none for a while."""
        while ticket := self._next(lane):
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
                    del self.lanes[lane], self.threads[lane]
                    return None

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
        if len(self.turns) > REMEMBERED:
            self.turns.popitem(last=False)


@st.cache_resource(show_spinner=False)
def the_queue() -> FairQueue:
    """The queue of this server."""
    return FairQueue()
