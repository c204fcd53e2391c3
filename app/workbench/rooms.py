"""Models in memory, each a lane of the queue; a room ends when nobody is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import streamlit as st
from streamlit.logger import get_logger

from app.workbench.clip import Clip
from app.workbench.memory import the_memory
from app.workbench.models import DEMO, Model, ModelAddress, default
from app.workbench.queue import in_turn, is_here, the_queue, threads, wait_for
from vjepa.errors import InputError

HOLD = 8.0
"""Seconds for which a model that was just asked stays, though another one waits for its place: they
take turns, and each gets an answer in his."""
SMALL = 100 << 20
"""Bytes of a model that one core answers for as fast as several: those then answer side by side.
Measured with the bundled model: in bfloat16 two threads are no faster, in float32 a seventh."""
DESKS = 24
"""Clips that stay encoded for a small model, 3 MB each, while their visitors take turns."""
REST = 10.0
"""Seconds for which they stay after a question."""
OPENING = "opening a model"
"""The lane in which models are read from the disk."""
GONE = "The model had to make room for another: choose it again."

Result = TypeVar("Result")
log = get_logger(__name__)


@dataclass(eq=False)
class Desk:
    """Where a question is worked on.

    Attributes:
        explorer: the model with a clip of its own.
        clip_id: which.
        until: when it is forgotten unless it is wanted before, on the monotonic clock.
    """

    explorer: Any
    clip_id: str = ""
    until: float = 0.0


@dataclass(eq=False)
class ModelRoom:
    """A model and its lane of the queue, so that visitors take turns and nobody waits to load it.

    torch is imported in a thread of the queue, after the first paint.

    Attributes:
        address: which model.
        load: makes its Explorer, in the lane of openings.
        loading: gives the Explorer; None where the model is not to be in memory.
        desks: that nobody works at, of the Explorer and of those that were before it.
        waiting: how many questions are asked and not answered.
        until: when it may leave the memory for another, on the monotonic clock.
        inside: visitors who look through this model.
        left: whether all visitors who were inside have gone.
    """

    address: ModelAddress
    load: Callable[[ModelRoom], Any]
    lock: Lock = field(default_factory=Lock)
    loading: Future | None = None
    desks: WeakKeyDictionary[Any, list[Desk]] = field(default_factory=WeakKeyDictionary)
    waiting: int = 0
    until: float = 0.0
    inside: set[Hashable] = field(default_factory=set)
    left: bool = False

    def open(self) -> Future:
        """Starts loading, once, or again where it failed; the future gives the Explorer."""
        with self.lock:
            if self.loading is None or (self.loading.done() and self.loading.exception()):
                work = partial(mended, self.load, self)
                self.loading = the_queue().submit(OPENING, id(self), work)
            return self.loading

    @property
    def ready(self) -> bool:
        """Whether an answer needs no waiting for the model."""
        loading = self.loading
        return loading is not None and loading.done()

    @property
    def model(self) -> Model:
        """What the pages know of the model in here, which is ready.

        Raises:
            InputError: it could not be loaded, or had to leave just now.
        """
        loading = self.loading
        if loading is None:
            raise InputError(GONE)
        explorer = loading.result()
        return DEMO if self.address == DEMO.address else Model.of(self.address, explorer)

    @property
    def at_work(self) -> bool:
        """Whether questions are asked and not answered."""
        return self.waiting > 0

    @property
    def busy(self) -> bool:
        """Whether someone is at work with the model, or was a moment ago."""
        return self.at_work or (self.loading is not None and time.monotonic() < self.until)

    def enter(self, visitor: Hashable) -> None:
        """A visitor looks through this model from now on."""
        self.inside.add(visitor)
        self.left = False

    def leave(self, visitor: Hashable) -> None:
        """A visitor goes, or goes to another model."""
        if visitor in self.inside:
            self.inside.discard(visitor)
            self.left = not self.inside

    def empty(self) -> None:
        """Forgets the model; work in progress keeps it until it is done."""
        with self.lock:
            self.loading = None

    def ask(self, clip: Clip, work: Callable[[Any], Result]) -> Result:
        """Does work with the model, in turn.

        Args:
            clip: set before the work begins.
            work: is given an Explorer; what it returns should hold no tensor of the model's.

        Raises:
            InputError: the work's own, or there is no model to ask.
        """
        explorer = wait_for(self.open(), shared=True)
        the_memory().find(self.address)  # it is wanted
        with self.held():
            asked = partial(mended, self._work, explorer, clip, work)
            return in_turn(self.address, asked, threads() if is_small(explorer) else 1)

    @contextmanager
    def held(self) -> Iterator[ModelRoom]:
        """Keeps the model in memory until the block ends, and a moment longer."""
        with self.lock:
            self.waiting += 1
        try:
            yield self
        finally:
            with self.lock:
                self.waiting -= 1
            self.until = time.monotonic() + HOLD

    def _work(self, explorer: Any, clip: Clip, work: Callable[[Any], Result]) -> Result:
        with self._seated(explorer, clip) as own:
            return work(own)

    @contextmanager
    def _seated(self, explorer: Any, clip: Clip) -> Iterator[Any]:
        """An Explorer that shows the clip and is nobody else's until the block ends."""
        with self.lock:
            free = self.desks.setdefault(explorer, [])
            desk = _take(free, explorer, clip.id)
        try:
            if desk.clip_id != clip.id:
                desk.clip_id = ""  # should the encoding fail, it is no clip's
                desk.explorer.set_clip(clip.frames)
                desk.clip_id = clip.id
            yield desk.explorer
        finally:
            with self.lock:
                desk.until = time.monotonic() + REST
                free.append(desk)

    def tidy(self) -> None:
        """Forgets clips that nobody has asked about for a while."""
        with self.lock:
            for free in self.desks.values():
                free[:] = [desk for desk in free if desk.until > time.monotonic()]


def _take(free: list[Desk], explorer: Any, clip_id: str) -> Desk:
    """A desk that shows the clip already, else a new one, else the one that was left first."""
    for desk in free:
        if desk.clip_id == clip_id:
            free.remove(desk)
            return desk
    most = DESKS if is_small(explorer) else 1
    return free.pop(0) if len(free) >= most else Desk(explorer.beside())


class Rooms:
    """The rooms of this server: the demo's, which stays, and those of other models."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.rooms: dict[ModelAddress, ModelRoom] = {}

    def room(self, address: ModelAddress) -> ModelRoom:
        """The room of a model, empty until it is opened."""
        with self.lock:
            return self.rooms.setdefault(address, ModelRoom(address, self._load))

    def enter(self, visitor: Hashable, *addresses: ModelAddress) -> None:
        """Says which models a visitor looks through now."""
        for address in addresses:
            self.room(address).enter(visitor)
        for room in self._all():
            if room.address not in addresses:
                room.leave(visitor)

    def close(self, address: ModelAddress) -> None:
        """Forgets a room, and the model in it."""
        with self.lock:
            self.rooms.pop(address, None)
        the_memory().drop(address)

    def sweep(self) -> None:
        """Closes the rooms that nobody is in any more, but for those of whom the next one sees."""
        lasting = DEMO.address, default()
        for room in self._all():
            room.tidy()
            for visitor in list(room.inside):
                if not is_here(visitor):
                    room.leave(visitor)
            if room.left and not room.busy and room.address not in lasting:
                self.close(room.address)

    def _all(self) -> list[ModelRoom]:
        with self.lock:
            return list(self.rooms.values())

    def _load(self, room: ModelRoom) -> Any:
        if room.left:
            raise InputError("Nobody waits for this model any more.")
        memory, began = the_memory(), time.monotonic()
        self._make_space(room.address.bytes)
        explorer = _explorer(room.address)
        size, in_use = explorer_bytes(explorer), partial(_in_use, room)
        memory.put(room.address, room, size, in_use=in_use, dropped=room.empty)
        room.until = time.monotonic() + HOLD
        log.info(
            "%s opened in %.1f s, %.0f MB; kept: %.1f of %.1f GB",
            *(room.address.title, time.monotonic() - began, size / 1e6),
            *(memory.used / 1e9, memory.budget / 1e9),
        )
        return explorer

    def _make_space(self, size: int) -> None:
        """Waits until a model of this size fits beside what is in use.

        Raises:
            InputError: it never will.
        """
        memory, deadline = the_memory(), time.monotonic() + HOLD
        while size > memory.budget or not memory.free(size):
            guests = [room for room in self._all() if room.address != DEMO.address]
            with memory.lock:
                held = [k for k, kept in memory.kept.items() if kept.in_use()]
            if size > memory.budget or held == [DEMO.address] or not held:
                raise InputError(TOO_LARGE)
            if time.monotonic() > deadline and not any(map(_is_ending, guests)):
                self._end_one(guests)
            time.sleep(0.2)

    def _end_one(self, guests: list[ModelRoom]) -> None:
        """Has the model leave that was asked the longest ago; who asks it now, waits till later."""
        with the_memory().lock:
            order = list(the_memory().kept)
        ready = [room for room in guests if room.ready and room.address in order]
        if ready:
            min(ready, key=lambda room: order.index(room.address)).empty()


def _is_ending(room: ModelRoom) -> bool:
    """Whether it answers the last questions before it leaves."""
    return room.at_work and room.loading is None


def _in_use(room: ModelRoom) -> bool:
    """The demo always is: it answers until another model is here."""
    return room.busy or room.address == DEMO.address


@st.cache_resource(show_spinner=False)
def all_rooms() -> Rooms:
    """The rooms of this server."""
    return Rooms()


def model_room(model: Model | ModelAddress = DEMO) -> ModelRoom:
    """The room of a model."""
    return all_rooms().room(model if isinstance(model, ModelAddress) else model.address)


def ask(clip: Clip, work: Callable[[Any], Result]) -> Result:
    """Does work with the model that looks at a clip, in turn: see `ModelRoom.ask`."""
    return model_room(clip.model).ask(clip, work)


def must_load(model: Model) -> bool:
    """Whether a page is to say that the model is loading, and not to wait for it.

    Another model than the demo was in memory when the visitor came to it. Where it had to leave
    since then, the page's next question waits until it is back.
    """
    return model == DEMO and not model_room(model).ready


def _explorer(address: ModelAddress) -> Any:
    from decoder import Explorer

    return Explorer.load(address.name, num_frames=address.num_frames)


def is_small(explorer: Any) -> bool:
    """Whether a core answers for the model as fast as several."""
    return explorer.model.device.type == "cpu" and explorer_bytes(explorer) <= SMALL


def explorer_bytes(explorer: Any) -> int:
    """What model and decoder take in memory."""
    parts = [explorer.model, *([explorer.pipeline.network] if explorer.pipeline else [])]
    tensors = {
        tensor.data_ptr(): tensor.nbytes
        for part in parts
        for tensor in (*part.parameters(), *part.buffers())
    }
    return sum(tensors.values())


def mended(work: Callable[..., Result], *given: Any) -> Result:
    """Work, where what the machine cannot do is said in a sentence.

    Raises:
        InputError: the memory is too small, or the disk cannot be read.
    """
    try:
        return work(*given)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(TOO_LARGE) from error
    except OSError as error:
        raise InputError(f"The model could not be read: {error}.") from error
    except RuntimeError as error:
        if "allocate memory" in str(error) or "out of memory" in str(error):
            raise InputError(TOO_LARGE) from error
        raise


TOO_LARGE = (
    "There is not enough memory for that: choose a smaller model, or open it with fewer frames."
)
