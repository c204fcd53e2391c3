"""Foreign media are decoded in processes of their own.

What crashes, swells or hangs there costs its visitor one sentence, and nobody else anything. A
worker has limits of memory and time; frames leave it as the model wants them. The module imports
nothing that a worker does not need.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from vjepa.errors import InputError, end_with_parent

WORKERS = 2
SECONDS = 20
"""For which one file may be decoded."""
MEMORY = 1_500_000_000
"""Bytes that a worker may take."""
STILL_PIXELS = 64_000_000
VIDEO_PIXELS = 36_000_000
"""In one frame: 8K."""
VIDEO_FRAMES = 10_000_000
VIDEO_HOURS = 24

UNREADABLE = (
    "{name} cannot be read within this server's limits of memory and time, or is damaged: choose a "
    "smaller file, or another one."
)

Result = TypeVar("Result")
_making = threading.Lock()
_pool: ProcessPoolExecutor | None = None


def elsewhere(
    wait: Callable[[Future], Result], read: Callable[..., Result], path: Path, *settings: Any
) -> Result:
    """What `read(path, *settings)` returns, run in another process.

    Args:
        wait: waits for a future.
        read: a function of a module, which the other process imports.
        path: of a foreign file.
        settings: further arguments.

    Raises:
        InputError: the file is too large, too long, damaged, or `read` says so.
    """
    pool = shared_pool()
    try:
        return wait(pool.submit(within_limits, read, path, *settings))
    except BrokenProcessPool:  # by this file, or by that of another visitor
        forget(pool)
    with new_pool(1) as alone:
        try:
            return wait(alone.submit(within_limits, read, path, *settings))
        except BrokenProcessPool as error:
            raise InputError(UNREADABLE.format(name=path.name)) from error


def shared_pool() -> ProcessPoolExecutor:
    """The pool of this server; made at the first file, and anew where it broke."""
    global _pool
    with _making:
        if _pool is None:
            _pool = new_pool(WORKERS)
        return _pool


def forget(pool: ProcessPoolExecutor) -> None:
    """Lets a broken pool go."""
    global _pool
    with _making:
        if _pool is pool:
            _pool = None
    pool.shutdown(wait=False, cancel_futures=True)


def new_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that know nothing of this one."""
    return ProcessPoolExecutor(workers, mp_context=BareContext(), initializer=begin_work)


class _Process(SpawnProcess):
    def start(self) -> None:
        """Starts it without the script that runs here: it would run the app's page."""
        running = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = running


class BareContext(SpawnContext):
    """Starts processes that know nothing of this one."""

    Process = _Process


# ---- in the worker


def begin_work() -> None:
    """Sets this process's limits, and has it end with the server."""
    limit_memory()
    end_with_parent()


def limit_memory() -> None:
    """Limits what this process may take, where the system can."""
    with suppress(ImportError):  # Windows
        import resource

        for name in ("RLIMIT_DATA", "RLIMIT_AS"):
            _lower(resource, name, MEMORY if name == "RLIMIT_DATA" else 4 * MEMORY)
        _lower(resource, "RLIMIT_CORE", 0)


def _lower(resource: ModuleType, name: str, limit: int) -> None:
    with suppress(AttributeError, ValueError, OSError):  # not known here, or lower already
        resource.setrlimit(getattr(resource, name), (limit, limit))


def within_limits(read: Callable[..., Result], path: Path, *settings: Any) -> Result:
    """Reads a file in this process, which ends where that takes too long.

    Raises:
        InputError: as for `elsewhere`.
    """
    set_timer(SECONDS)
    try:
        check_size(path)
        return read(path, *settings)
    except MemoryError as error:
        raise InputError(UNREADABLE.format(name=path.name)) from error
    finally:
        set_timer(0)


def set_timer(seconds: float) -> None:
    """Ends this process after a while, whatever it does then; 0: no more."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def check_size(path: Path) -> None:
    """Makes sure that what a file says of itself is within the limits; others say what it is.

    Raises:
        InputError: too many pixels, too many frames, or too long.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = STILL_PIXELS  # twice as many are an error of its own
    pixels = 0
    try:
        with Image.open(path) as image:
            pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = 2 * STILL_PIXELS
    except Exception:  # no picture, or a damaged one, of which Pillow says anything
        return _check_video(path)
    return _check(path, "pixels", pixels, STILL_PIXELS)


def _check_video(path: Path) -> None:
    from vjepa.reading.video_file import open_track

    try:
        container, stream = open_track(path)
    except InputError:  # the reader says it better
        return
    with container:
        shape, hours = stream.codec_context, (container.duration or 0) / 3.6e9
        pixels, frames = shape.width * shape.height, stream.frames
    _check(path, "hours", hours, VIDEO_HOURS)
    _check(path, "pixels", pixels, VIDEO_PIXELS)
    _check(path, "frames", frames, VIDEO_FRAMES)


def _check(path: Path, what: str, found: float, most: int) -> None:
    if found > most:
        raise InputError(
            f"{path.name} has more than {most:,} {what}, which is more than this server reads: "
            "choose a smaller file."
        )
