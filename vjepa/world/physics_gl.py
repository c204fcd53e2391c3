"""MuJoCo and an OpenGL context without a window: loaded when a clip is drawn, never before."""

from __future__ import annotations

import atexit
import ctypes.util
import os
from functools import lru_cache
from types import ModuleType

from vjepa.errors import InputError

BACKENDS = {"egl": "EGL", "osmesa": "OSMesa"}
"""Values of MUJOCO_GL that need no window, and the library each of them loads."""
WIDEST = 1024
"""Side of the largest picture that can be drawn, in pixels."""


@lru_cache(maxsize=1)
def load_mujoco() -> ModuleType:
    """MuJoCo, told how to draw: as MUJOCO_GL says, else by the first library that is there.

    Mesa's software renderer gets one thread, as several processes use the cores better, and no
    cache on disk, which they would share: processes that read it side by side have crashed.

    Raises:
        InputError: MuJoCo or OpenGL is missing.
    """
    os.environ.setdefault("LP_NUM_THREADS", "1")
    os.environ.setdefault("MESA_SHADER_CACHE_DISABLE", "true")
    if not os.environ.get("MUJOCO_GL"):
        found = [name for name, library in BACKENDS.items() if ctypes.util.find_library(library)]
        if not found:
            raise InputError(
                "Physics clips need OpenGL without a window: install EGL or OSMesa (on Debian "
                "`apt-get install libegl1 libosmesa6 libgl1-mesa-dri`)."
            )
        os.environ["MUJOCO_GL"] = found[0]
    try:
        import mujoco
    except ImportError as error:
        raise InputError(
            f"Physics clips are drawn by MuJoCo, which cannot be imported ({error}): "
            "`pip install -e .[physics]`."
        ) from error
    return mujoco


@lru_cache(maxsize=1)
def open_context() -> None:
    """Makes an OpenGL context current; once in a process.

    Raises:
        InputError: MuJoCo is missing, or OpenGL does not work.
    """
    mujoco = load_mujoco()
    try:
        context = mujoco.GLContext(WIDEST, WIDEST)
        context.make_current()
    except Exception as error:  # every backend fails in its own way
        raise InputError(
            f"Physics clips cannot be drawn with MUJOCO_GL={os.environ['MUJOCO_GL']} ({error}): "
            "try MUJOCO_GL=egl or osmesa, with Debian's libegl1, libosmesa6 and libgl1-mesa-dri."
        ) from error
    atexit.register(context.free)
