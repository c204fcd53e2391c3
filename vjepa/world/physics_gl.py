"""MuJoCo and an OpenGL context without a window: loaded when a clip is drawn, never before."""

from __future__ import annotations

import atexit
import ctypes.util
import os
import sys
from functools import lru_cache
from importlib import import_module
from types import ModuleType

from vjepa.errors import InputError

BACKENDS = {"egl": "EGL", "osmesa": "OSMesa"}
"""Values of MUJOCO_GL that need no window, and the library each of them loads."""
WIDEST = 1024
"""Side of the largest picture that can be drawn, in pixels."""


@lru_cache(maxsize=1)
def load_mujoco() -> ModuleType:
    """MuJoCo, with Mesa told how to draw for it.

    Mesa's software renderer gets one thread, as several processes use the cores better, and no
    cache on disk, which they would share: processes that read it side by side have crashed.

    Raises:
        InputError: MuJoCo is missing.
    """
    os.environ.setdefault("LP_NUM_THREADS", "1")
    os.environ.setdefault("MESA_SHADER_CACHE_DISABLE", "true")
    try:
        return import_module("mujoco")
    except ImportError as error:
        raise InputError(
            f"Physics clips are drawn by MuJoCo, which cannot be imported ({error}): "
            "`pip install -e .[physics]`."
        ) from error


@lru_cache(maxsize=1)
def open_context() -> None:
    """Makes an OpenGL context current; once in a process.

    Its kind is what MUJOCO_GL says, else the first of BACKENDS whose library is there.

    Raises:
        InputError: MuJoCo is missing, or OpenGL is missing or does not work.
    """
    backend = os.environ.get("MUJOCO_GL") or _find_backend()
    mujoco = load_mujoco()
    try:
        # MuJoCo chooses when it is first imported, which may have been without a choice.
        module = import_module(f"mujoco.{backend}") if backend in BACKENDS else mujoco
        context = module.GLContext(WIDEST, WIDEST)
        context.make_current()
    except Exception as error:  # every backend fails in its own way
        raise InputError(
            f"Physics clips cannot be drawn with MUJOCO_GL={backend} ({error}): try "
            "MUJOCO_GL=egl or osmesa, with Debian's libegl1, libosmesa6 and libgl1-mesa-dri."
        ) from error
    atexit.register(context.free)


def _find_backend() -> str:
    """The first backend whose library is there; what MuJoCo finds for itself on other systems."""
    if sys.platform != "linux":
        return "default"
    for backend, library in BACKENDS.items():
        if ctypes.util.find_library(library):
            return backend
    raise InputError(
        "Physics clips need OpenGL without a window: install EGL or OSMesa (on Debian "
        "`apt-get install libegl1 libosmesa6 libgl1-mesa-dri`)."
    )
