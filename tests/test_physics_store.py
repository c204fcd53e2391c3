"""Stored physics clips: drawn in processes, in order, and gone on with after a break."""

import json
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from vjepa.errors import InputError
from vjepa.world import physics_store
from vjepa.world.physics import PhysicsWorld
from vjepa.world.physics_store import (
    draw_frames,
    load_labelled,
    store_frames,
    store_labelled,
)

WORLD = PhysicsWorld(32, 4)


@pytest.fixture
def here(monkeypatch):
    """Draws in this very process, two clips at a time."""

    def draw(task, first, last, processes):
        for start in range(first, last, 2):
            yield task(range(start, min(start + 2, last)))

    monkeypatch.setattr(physics_store, "_in_processes", draw)


def test_processes_draw_the_clips_of_the_seed_in_order(monkeypatch):
    monkeypatch.setattr(physics_store, "CHUNK", 1)
    drawn = np.concatenate(list(draw_frames(WORLD, 1, 3, seed=5, processes=1)))
    assert np.array_equal(drawn, [WORLD.frames((5, 1)), WORLD.frames((5, 2))])


def test_a_store_that_was_broken_off_goes_on_and_ends_the_same(here, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole.npy", tmp_path / "broken.npy"
    store_frames(WORLD, whole, 5, seed=1, processes=1)
    draw = physics_store._draw_frames

    def fail_late(world, seed, numbers):
        if numbers.start >= 2:
            raise KeyboardInterrupt
        return draw(world, seed, numbers)

    monkeypatch.setattr(physics_store, "_draw_frames", fail_late)
    with pytest.raises(KeyboardInterrupt):
        store_frames(WORLD, broken, 5, seed=1, processes=1)
    assert json.loads((tmp_path / "broken.progress").read_text())["done"] == 2
    asked = []
    monkeypatch.setattr(
        physics_store, "_draw_frames", lambda w, s, n: asked.extend(n) or draw(w, s, n)
    )
    store_frames(WORLD, broken, 5, seed=1, processes=1)
    assert asked == [2, 3, 4]
    assert np.array_equal(np.load(whole), np.load(broken))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.npy", "whole.npy"]


def test_the_beginning_of_other_clips_is_not_gone_on_with(here, tmp_path):
    beginning = tmp_path / "clips.partial"
    beginning.write_bytes(b"")
    notes = {"seed": 1, "split": "train", "shape": [4, 4, 32, 32, 3], "done": 2}
    (tmp_path / "clips.progress").write_text(json.dumps(notes))
    with pytest.raises(InputError, match="other clips"):
        store_frames(WORLD, tmp_path / "clips.npy", 4, seed=2, processes=1)


def test_labelled_clips_come_back_as_they_were(here, tmp_path):
    path = tmp_path / "clips.npz"
    store_labelled(WORLD, path, 3, seed=2, processes=1)
    batch, clip = load_labelled(path), WORLD.clip((2, 2))
    for name, value in vars(batch).items():
        assert np.array_equal(value[2].numpy(), clip[name]), name


def test_bad_input_gets_a_sentence(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        store_frames(WORLD, tmp_path / "clips.npy", 0, seed=0, processes=1)
    (tmp_path / "clips.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="no labelled"):
        load_labelled(tmp_path / "clips.npz")


def test_processes_that_draw_end_with_the_one_that_asked_however_it_ends(tmp_path):
    out = tmp_path / "clips.npy"
    words = f"-m vjepa store --data physics --clips 999 --processes 1 --out {out}".split()
    store = psutil.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not out.with_suffix(".progress").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)  # until it draws
    workers = store.children(recursive=True)
    store.kill()
    store.wait()
    assert workers and not psutil.wait_procs(workers, timeout=30)[1]
