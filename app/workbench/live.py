"""Work that a visitor watches: in a process of its own, told piece by piece, ended with his visit.

The module imports nothing that such a process does not need.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from app.workbench.decoding import BareContext
from vjepa.errors import InputError, end_with_parent

SILENCE = 15.0
"""Seconds after which work ends that nobody has looked at: its visitor has left, or reads another
page."""
MOST = 2
"""Visitors whose work goes on at once."""
NICE = 5
"""How far it stands back behind answers."""
FULL = "Others watch a training right now: try again in a minute."
FAILED = "The training stopped before its time: start it again."


class LiveWork:
    """Work in a process of its own.

    Args:
        work: a function of a module, whose pieces are told as they come.
        given: its arguments.

    Attributes:
        pieces: those that have come.
        looked: when somebody looked last, on the monotonic clock.
    """

    def __init__(self, work: Callable[..., Iterator[Any]], *given: Any) -> None:
        self.pieces: list[Any] = []
        self.looked = time.monotonic()
        self._lock, self._over = threading.Lock(), False
        context = BareContext()
        self._hear, say = context.Pipe(duplex=False)
        self.process = context.Process(target=tell_pieces, args=(say, work, given), daemon=True)
        self.process.start()
        say.close()  # the other process holds the only end: its end is the end of the pieces

    def look(self) -> list[Any]:
        """The pieces so far.

        Raises:
            InputError: the work ended without a last piece.
        """
        self.looked = time.monotonic()
        with self._lock:
            self._receive()
            if self._over and not self.pieces:
                raise InputError(FAILED)
            return list(self.pieces)

    def _receive(self) -> None:
        try:
            while not self._over and self._hear.poll():
                self.pieces.append(self._hear.recv())
        except (EOFError, OSError):
            self._over = True

    @property
    def at_work(self) -> bool:
        """Whether more may come."""
        return not self._over

    def stop(self) -> None:
        """Ends it, done or not."""
        with self._lock:
            self._over = True
        self.process.terminate()
        self.process.join()


class Watched:
    """The work that visitors of this server watch: of each visitor one at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.works: dict[Hashable, LiveWork] = {}

    def start(self, visitor: Hashable, work: Callable[..., Iterator[Any]], *given: Any) -> LiveWork:
        """Begins a visitor's work; what he watched before ends.

        Raises:
            InputError: too many others watch something.
        """
        self.stop(visitor)
        self.sweep()
        with self.lock:
            if sum(one.at_work for one in self.works.values()) >= MOST:
                raise InputError(FULL)
            self.works[visitor] = begun = LiveWork(work, *given)
            return begun

    def of(self, visitor: Hashable) -> LiveWork | None:
        """What a visitor watches, or watched last."""
        return self.works.get(visitor)

    def stop(self, visitor: Hashable) -> None:
        """Ends a visitor's work."""
        with self.lock:
            work = self.works.pop(visitor, None)
        if work:
            work.stop()

    def sweep(self) -> None:
        """Ends and forgets what nobody has looked at for a while."""
        silent = time.monotonic() - SILENCE
        for visitor in [who for who, work in list(self.works.items()) if work.looked < silent]:
            self.stop(visitor)


@cache
def the_watched() -> Watched:
    """What is watched on this server."""
    return Watched()


# ---- in the other process


def tell_pieces(say: Connection, work: Callable[..., Iterator[Any]], given: tuple) -> None:
    """Does the work, behind others', and ends with the server or when nobody listens any more."""
    end_with_parent()
    if hasattr(os, "nice"):
        os.nice(NICE)
    with say, suppress(BrokenPipeError):
        for piece in work(*given):
            say.send(piece)
