"""Files that must not be lost: written beside their place and moved there when they are whole.

What a disk or a folder refuses becomes one sentence, at the start where it can be known.
"""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.lib.format import open_memmap
from safetensors import SafetensorError

from vjepa.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)


def require_writable(folder: Path) -> None:
    """Makes a folder, and checks that files can be made in it.

    Raises:
        InputError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise refusal(folder, error) from error


def require_room(folder: Path, size: int, what: str) -> None:
    """Checks that the disk of a folder takes `size` more bytes.

    Raises:
        InputError: it does not; both numbers are told.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"The disk is too full: {what} in {folder} needs {gigabytes(size)} and "
            f"{gigabytes(free)} are free: make room, or write elsewhere."
        )


def gigabytes(count: int) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def refusal(path: Path, error: Exception) -> InputError:
    """The sentence for a file that could not be written."""
    if (isinstance(error, OSError) and error.errno in FULL) or _is_full(path):
        return InputError(f"The disk is full: {path} could not be written; make room and go on.")
    reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
    return InputError(f"{path} cannot be written ({reason}): choose another place.")


def _is_full(path: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < 1 << 20
    return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file that takes its place when it is whole; the one before stays until then.

    Raises:
        InputError: the disk is full, or refuses.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)  # os.replace: on every platform, also over a file that is there
    except (OSError, RuntimeError, SafetensorError) as error:  # as writers of tensors put it
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise refusal(path, error) from error


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A file of bytes (.npy, uint8), mapped, with all its blocks on the disk.

    Without them a disk that fills up would end the process by a signal, without a word.

    Raises:
        InputError: there is no room, or the place cannot be written.
    """
    require_writable(path.parent)
    require_room(path.parent, int(np.prod(shape, dtype=np.int64)), path.name)
    try:
        array = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise refusal(path, error) from error
    return array


def require_checksums(path: Path) -> None:
    """Reads a file that torch wrote and holds its parts to their checksums; torch itself does not.

    Other files, which have none, pass.

    Raises:
        InputError: a part is not what was written.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if broken is not None:
        raise InputError(f"{path} is damaged: {broken} in it is not what was written.")
