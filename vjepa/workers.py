"""Processes that work for this one, and end with it."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """Has this process end with the one that started it, however that ends: the first thing to do.

    Killed, a process says goodbye to nobody, and a pool's own pipes do not tell, as its workers
    hold both ends of them: they would wait for work for ever.
    """
    threading.Thread(target=_wait, name="end with the parent", daemon=True).start()


def _wait() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
