"""Work that a visitor watches: told piece by piece, one at a time, ended when nobody looks."""

import time

import pytest

from app.workbench import live
from app.workbench.live import LiveWork, Watched
from vjepa.errors import InputError


def counting(upto, pause):
    for number in range(upto):
        yield number
        time.sleep(pause)


def broken():
    raise RuntimeError
    yield


def until_over(work):
    while work.at_work:
        found = work.look()
        time.sleep(0.02)
    return found


def is_gone(work):
    work.process.join(30)
    return not work.process.is_alive()


def test_pieces_come_in_order_and_the_process_ends():
    work = LiveWork(counting, 5, 0.0)
    assert until_over(work) == [0, 1, 2, 3, 4]
    assert is_gone(work)


def test_what_breaks_before_its_first_piece_is_told_in_a_sentence():
    work = LiveWork(broken)
    with pytest.raises(InputError, match="start it again"):
        until_over(work)
    assert is_gone(work)


def test_a_visitor_has_one_at_a_time_and_others_wait(monkeypatch):
    monkeypatch.setattr(live, "MOST", 1)
    watched = Watched()
    first = watched.start("a", counting, 1000, 0.1)
    with pytest.raises(InputError, match="Others"):
        watched.start("b", counting, 1000, 0.1)
    second = watched.start("a", counting, 1000, 0.1)
    assert is_gone(first)
    assert watched.of("a") is second
    watched.stop("a")
    assert is_gone(second)


def test_what_nobody_looks_at_ends(monkeypatch):
    watched = Watched()
    work = watched.start("a", counting, 1000, 0.1)
    watched.sweep()
    assert watched.of("a") is work
    monkeypatch.setattr(live, "SILENCE", 0.0)
    time.sleep(0.01)
    watched.sweep()
    assert watched.of("a") is None
    assert is_gone(work)
