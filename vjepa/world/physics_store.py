"""Physics clips drawn in several processes, and stored once for all runs that read them.

Clip i depends on (seed, i) alone: a store that was broken off goes on where it was, and a smaller
store is the beginning of a larger one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm

from vjepa.errors import InputError, end_with_parent
from vjepa.storage import new_array
from vjepa.world.physics import PhysicsBatch, PhysicsWorld, collate

log = logging.getLogger(__name__)

CHUNK = 16
"""Clips that a process draws at a time."""


def draw_frames(
    world: PhysicsWorld, first: int, last: int, *, seed: int, processes: int
) -> Iterator[UInt8[np.ndarray, "n t h w 3"]]:
    """Clips `first` to `last` of a seed, in order, some at a time.

    Args:
        world: gives size and split.
        first, last: numbers of the first clip and of the one after the last.
        seed: of the clips.
        processes: that draw side by side; each uses one core.
    """
    yield from _in_processes(partial(_draw_frames, world, seed), first, last, processes)


def draw_labelled(
    world: PhysicsWorld, first: int, last: int, *, seed: int, processes: int
) -> Iterator[PhysicsBatch]:
    """The same clips with their labels."""
    yield from _in_processes(partial(_draw_labelled, world, seed), first, last, processes)


def _draw_frames(world: PhysicsWorld, seed: int, numbers: range):
    return np.stack([world.frames((seed, number)) for number in numbers])


def _draw_labelled(world: PhysicsWorld, seed: int, numbers: range) -> PhysicsBatch:
    return collate([world.clip((seed, number)) for number in numbers])


def _in_processes(draw, first: int, last: int, processes: int) -> Iterator:
    """What `draw` makes of one chunk after the other.

    Drivers of OpenGL have been seen to crash: the processes are then started anew, from the first
    chunk that is missing, unless they got nowhere.
    """
    chunks = [range(i, min(i + CHUNK, last)) for i in range(first, last, CHUNK)]
    done = 0
    while done < len(chunks):
        before = done
        # Forked processes would share what OpenGL and torch have opened.
        pool = ProcessPoolExecutor(processes, get_context("spawn"), end_with_parent)
        try:
            for drawn in pool.map(draw, chunks[done:]):
                yield drawn
                done += 1
        except BrokenProcessPool:
            if done == before:
                raise
            log.warning("A process that drew clips crashed after clip %d.", chunks[done].start)
        finally:
            pool.shutdown(cancel_futures=True)


def store_frames(world: PhysicsWorld, path: Path, count: int, *, seed: int, processes: int) -> None:
    """Stores clips 0 to `count` of a seed; goes on where an earlier call was broken off.

    Args:
        world: gives size and split.
        path: the `.npy` file to write, uint8 (count, T, H, W, 3).
        count: number of clips.
        seed: of the clips.
        processes: that draw side by side.

    Raises:
        InputError: no clips, or the beginning that lies there is of other clips.
    """
    if count < 1:
        raise InputError(f"{count} clips cannot be stored; ask for at least one.")
    beginning, notes = path.with_suffix(".partial"), path.with_suffix(".progress")
    size = (world.num_frames, world.image_size, world.image_size, 3)
    asked = {"seed": seed, "split": world.split, "shape": [count, *size]}
    asked |= {"static": world.static} if world.static else {}
    done = _done(beginning, notes, asked)
    clips = np.load(beginning, mmap_mode="r+") if done else new_array(beginning, (count, *size))
    with tqdm(total=count, initial=done, desc="clips", unit="clip") as bar:
        for frames in draw_frames(world, done, count, seed=seed, processes=processes):
            clips[done : done + len(frames)] = frames
            clips.flush()
            done += len(frames)
            notes.write_text(json.dumps(asked | {"done": done}))
            bar.update(len(frames))
    beginning.replace(path)
    notes.unlink()


def _done(beginning: Path, notes: Path, asked: dict) -> int:
    """How many clips an earlier call has stored."""
    if not (beginning.is_file() and notes.is_file()):
        return 0
    found = json.loads(notes.read_text())
    done = found.pop("done")
    if found != asked:
        raise InputError(
            f"{beginning} is the beginning of other clips ({found}, asked for {asked}): ask for "
            "those, delete it, or store under another name."
        )
    return done


def store_labelled(
    world: PhysicsWorld, path: Path, count: int, *, seed: int, processes: int
) -> None:
    """Stores clips with all their labels in one `.npz` file, for probes and scores.

    Args:
        world: gives size and split.
        path: the file to write; it holds an array for each attribute of `PhysicsBatch`.
        count: number of clips, all of which must fit into memory.
        seed: of the clips.
        processes: that draw side by side.

    Raises:
        InputError: no clips.
    """
    if count < 1:
        raise InputError(f"{count} clips cannot be stored; ask for at least one.")
    with tqdm(total=count, desc="labelled clips", unit="clip") as bar:
        parts = []
        for batch in draw_labelled(world, 0, count, seed=seed, processes=processes):
            parts.append(vars(batch))
            bar.update(len(batch.frames))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    np.savez_compressed(path, **whole)


def load_labelled(path: Path) -> PhysicsBatch:
    """The clips that `store_labelled` stored.

    Raises:
        InputError: the file holds something else.
    """
    try:
        with np.load(path) as stored:
            return PhysicsBatch(**{name: torch.from_numpy(stored[name]) for name in stored})
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise InputError(f"{path} holds no labelled physics clips: {error}.") from error
