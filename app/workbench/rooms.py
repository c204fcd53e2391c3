"""Models in memory, each behind one worker thread: the demo, and one more at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import streamlit as st

from app.workbench.clip import Clip
from app.workbench.models import DEMO, Model, ModelAddress
from vjepa.errors import InputError

HOLD = 8.0
"""Seconds after its last answer for which a model stays, though visitors want another: they take
turns, and each gets an answer in his."""

Result = TypeVar("Result")


@dataclass
class ModelRoom:
    """A model behind one worker thread, so that visitors take turns and nobody waits to load it.

    torch is imported in that thread, after the first paint.

    Attributes:
        address: which model.
        load: makes its Explorer, in the worker.
        waiting: how many questions are asked and not answered.
        until: when it may leave the memory, on the monotonic clock.
    """

    address: ModelAddress
    load: Callable[[ModelRoom], Any]
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    lock: Lock = field(default_factory=Lock)
    loading: Future | None = None
    clip_id: str = ""
    waiting: int = 0
    until: float = 0.0

    def open(self) -> Future:
        """Starts loading, once, or again where it failed; the future gives the Explorer."""
        with self.lock:
            if self.loading is None or (self.loading.done() and self.loading.exception()):
                self.loading = self.worker.submit(mended, self._enter)
            return self.loading

    def _enter(self) -> Any:
        self.clip_id = ""
        return self.load(self)

    @property
    def ready(self) -> bool:
        """Whether an answer needs no waiting for the model."""
        return self.loading is not None and self.loading.done()

    @property
    def model(self) -> Model:
        """What the pages know of the model in here, which is ready.

        Raises:
            InputError: it could not be loaded.
        """
        explorer = self.loading.result()
        return DEMO if self.address == DEMO.address else Model.of(self.address, explorer)

    @property
    def busy(self) -> bool:
        """Whether someone is at work with the model, or was a moment ago."""
        return self.waiting > 0 or not self.ready or time.monotonic() < self.until

    def leave(self) -> None:
        """A visitor goes to another model: this one need not stay for him."""
        self.until = 0.0

    def empty(self) -> None:
        """Forgets the model; work in progress keeps it until it is done."""
        with self.lock:
            self.loading = None

    def ask(self, clip: Clip, work: Callable[[Any], Result]) -> Result:
        """Does work with the Explorer, in turn.

        Args:
            clip: set before the work begins.
            work: is given the Explorer; what it returns should hold no tensor of the model's.

        Raises:
            InputError: the work's own, or there is no model to ask.
        """
        with self.held():
            loading = self.open()
            return self.worker.submit(mended, self._work, loading, clip, work).result()

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

    def _work(self, loading: Future, clip: Clip, work: Callable[[Any], Result]) -> Result:
        explorer = loading.result()
        if self.clip_id != clip.id:
            self.clip_id = ""  # should the encoding fail, it is no clip's
            explorer.set_clip(clip.frames)
            self.clip_id = clip.id
        return work(explorer)


class Rooms:
    """The rooms of this server: the demo's, and those of other models, of which one is full."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.door = Lock()
        self.rooms: dict[ModelAddress, ModelRoom] = {}
        self.guest: ModelRoom | None = None

    def room(self, address: ModelAddress) -> ModelRoom:
        """The room of a model, empty until it is opened."""
        with self.lock:
            return self.rooms.setdefault(address, ModelRoom(address, self._load))

    def close(self, address: ModelAddress) -> None:
        """Forgets a room whose model could not be loaded."""
        with self.lock:
            self.rooms.pop(address, None)

    def _load(self, room: ModelRoom) -> Any:
        if room.address == DEMO.address:
            return _explorer(room.address)
        with self.door:
            self._make_space(room)
            explorer = _explorer(room.address)
            self.guest = room
            room.until = time.monotonic() + HOLD
            return explorer

    def _make_space(self, newcomer: ModelRoom) -> None:
        """Waits until nobody needs the model that is there beside the demo, and lets it go."""
        guest, self.guest = self.guest, None
        if guest is None or guest is newcomer:
            return
        while guest.busy:
            time.sleep(0.2)
        guest.empty()


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


def _explorer(address: ModelAddress) -> Any:
    from decoder import Explorer

    return Explorer.load(address.name, num_frames=address.num_frames)


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
