"""One budget of bytes for all that the server keeps: models, clips, answers, banks."""

from __future__ import annotations

import argparse
import functools
import inspect
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from threading import Lock, RLock
from typing import Any, TypeVar

import streamlit as st

SHARE = 0.5
"""Of the memory that the server may use; the rest is for work in progress, libraries and others."""
AGE = 3600.0
"""Seconds after which what nobody asked for is forgotten, however much room there is."""
SMALL = 4_000_000
"""Bytes up to which a thing counts as small: answers, clips, pictures of them."""
SMALL_ONES = 64_000_000
"""Bytes of all small things. Every stroke leaves one, and few are asked for again; without a limit
of their own they would fill the budget, however large it is."""
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

Result = TypeVar("Result")


def never() -> bool:
    """What is not in use may always go."""
    return False


def nothing() -> None:
    """Nothing is to be done when it goes."""


@dataclass
class Kept:
    """A thing that is kept.

    Attributes:
        value: the thing.
        size: bytes.
        in_use: whether it has to stay for now.
        dropped: called when it goes.
        touched: when it was asked for last, on the monotonic clock.
    """

    value: Any
    size: int
    in_use: Callable[[], bool] = never
    dropped: Callable[[], None] = nothing
    touched: float = 0.0


class Memory:
    """What is kept, up to a budget; what was not asked for the longest goes first.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.lock = RLock()
        self.kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self.making: dict[Hashable, Lock] = {}

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        with self.lock:
            return sum(kept.size for kept in self.kept.values())

    def put(self, key: Hashable, value: Any, size: int, **more: Callable) -> None:
        """Keeps a thing, in place of what has its key; others go for it.

        Args:
            key: to find it again.
            value: the thing; what is larger than the budget is not kept.
            size: bytes.
            more: `in_use` and `dropped` of `Kept`.
        """
        with self.lock:
            self.kept.pop(key, None)
            if size <= self.budget and self.free(size):
                if size <= SMALL:
                    self._free(size, SMALL_ONES, lambda kept: kept.size <= SMALL)
                self.kept[key] = Kept(value, size, **more, touched=time.monotonic())

    def find(self, key: Hashable) -> Kept | None:
        """What has this key, if it is kept; it was asked for just now."""
        with self.lock:
            if kept := self.kept.get(key):
                kept.touched = time.monotonic()
                self.kept.move_to_end(key)
            return kept

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """What has this key; made where it is not kept, by one of those who ask at once."""
        if kept := self.find(key):
            return kept.value
        with self.lock:
            making = self.making.setdefault(key, Lock())
        with making:
            try:
                if kept := self.find(key):
                    return kept.value
                value = make()
                self.put(key, value, size_of(value))
                return value
            finally:
                with self.lock:
                    self.making.pop(key, None)

    def free(self, size: int) -> bool:
        """Lets things go until so many bytes more fit; whether they do."""
        return self._free(size, self.budget, lambda kept: True)

    def _free(self, size: int, most: int, counts: Callable[[Kept], bool]) -> bool:
        """The same for some of the things, which may take so many bytes at most."""
        with self.lock:
            chosen = [(key, kept) for key, kept in self.kept.items() if counts(kept)]
            excess = sum(kept.size for _, kept in chosen) + size - most
            for key, kept in chosen:
                if excess <= 0:
                    break
                if not kept.in_use():
                    excess -= kept.size
                    self.drop(key)
            return excess <= 0

    def drop(self, key: Hashable) -> None:
        """Lets one thing go."""
        with self.lock:
            kept = self.kept.pop(key, None)
        if kept:
            kept.dropped()

    def forget(self, told: Callable[[Hashable], bool]) -> None:
        """Lets things go by their keys."""
        with self.lock:
            for key in [key for key in self.kept if told(key)]:
                self.drop(key)

    def forget_old(self) -> None:
        """Lets go what nobody has asked for in a long time."""
        oldest = time.monotonic() - AGE
        with self.lock:
            old = [k for k, kept in self.kept.items() if kept.touched < oldest]
            for key in old:
                if not self.kept[key].in_use():
                    self.drop(key)


def size_of(value: Any) -> int:
    """Bytes of arrays, texts and what holds them."""
    if hasattr(value, "nbytes"):  # an array, a tensor
        return max(int(value.nbytes), sys.getsizeof(value))
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(size_of, [*value.keys(), *value.values()]))
    if isinstance(value, list | tuple | set | frozenset):
        return sys.getsizeof(value) + sum(map(size_of, value))
    if is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in fields(value))
    return sys.getsizeof(value)


def kept(function: Callable[..., Result]) -> Callable[..., Result]:
    """Keeps the results of a function in the server's memory.

    Arguments are part of the key, but those whose names begin with "_".
    """
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def remembered(*args: Any, **named: Any) -> Result:
        given = dict(zip(names, args, strict=False)) | named
        told = tuple((name, value) for name, value in given.items() if name[0] != "_")
        key = (function.__module__, function.__qualname__, told)
        return the_memory().get(key, lambda: function(*args, **named))

    return remembered


@st.cache_resource(show_spinner=False)
def the_memory() -> Memory:
    """The memory of this server."""
    return Memory(budget())


def budget() -> int:
    """Bytes that are kept at most: `--memory GB`, VJEPA_APP_MEMORY, or a share of what there is."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--memory", type=float, default=os.environ.get("VJEPA_APP_MEMORY"))
    asked = parser.parse_known_args()[0].memory
    return int(asked * 1e9) if asked else int(SHARE * available())


def available() -> int:
    """Bytes that this process may use: the machine's, or fewer in a container."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if _has_sysconf() else []
    for path in map(Path, CGROUP_LIMITS):
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            limits.append(int(text))
    return min(limits, default=8 * 10**9)


def _has_sysconf() -> bool:
    return "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ())
