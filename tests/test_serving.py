"""Many visitors: whose turn it is, what is kept, and who has left."""

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.runtime.scriptrunner import StopException
from tiny import TINY

from app.workbench import memory, queue, rooms
from app.workbench.memory import Memory, kept, size_of
from app.workbench.models import ModelAddress
from app.workbench.queue import FairQueue
from decoder.explorer import Explorer
from vjepa.model import VJEPA

PATIENCE = 60


class Gate:
    """Work that a lane is held up with."""

    def __init__(self, queue: FairQueue, lane: str = "model") -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        queue.submit(lane, object(), self.wait)
        assert self.begun.wait(PATIENCE)

    def wait(self) -> None:
        self.begun.set()
        self.go.wait(PATIENCE)


def test_visitors_take_turns():
    queue, order = FairQueue(), []
    for _ in range(3):
        gate = Gate(queue)
        asked = [queue.submit("model", who, lambda who=who: order.append(who)) for who in "abc"]
        gate.go.set()
        for one in asked:
            one.result(PATIENCE)
    assert order == list("abc") * 3
    gate = Gate(queue)
    again = [queue.submit("model", who, lambda who=who: order.append(who)) for who in "cbad"]
    gate.go.set()
    for one in again:
        one.result(PATIENCE)
    assert order[9:] == list("abcd")  # who waits the longest; who came last is last


def test_who_comes_anew_again_and_again_keeps_nobody_out():
    queue, order = FairQueue(), []
    gate = Gate(queue)
    queue.submit("model", "regular", lambda: None)
    gate.go.set()
    gate = Gate(queue)
    asked = [queue.submit("model", n, lambda n=n: order.append(n)) for n in range(3)]
    asked.append(queue.submit("model", "regular", lambda: order.append("regular")))
    asked += [queue.submit("model", n, lambda n=n: order.append(n)) for n in range(3, 50)]
    gate.go.set()
    for one in asked:
        one.result(PATIENCE)
    assert order == ["regular", *range(50)]


def test_only_the_newest_question_of_a_visitor_counts():
    queue, order = FairQueue(), []
    gate = Gate(queue)
    asked = [queue.submit("model", "a", lambda n=n: order.append(n)) for n in range(10)]
    gate.go.set()
    asked[-1].result(PATIENCE)
    assert order == [9]
    with pytest.raises(CancelledError):
        asked[0].result(PATIENCE)


def test_the_run_that_goes_on_is_answered_though_one_that_ends_asked_after_it(monkeypatch):
    """Streamlit begins a visitor's newer run before the older one has seen that it is to stop."""
    here = FairQueue()

    def heed(begun):
        if threading.current_thread().name.startswith("older"):
            raise StopException

    monkeypatch.setattr(queue, "the_queue", lambda: here)
    monkeypatch.setattr(queue, "visitor_id", lambda: "a")
    monkeypatch.setattr(queue, "heed", heed)
    gate = Gate(here)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="newer") as newer,
        ThreadPoolExecutor(1, thread_name_prefix="older") as older,
    ):
        goes_on = newer.submit(queue.in_turn, "model", lambda: "newer")
        while not here.waiting("model"):
            time.sleep(0.001)
        ends = older.submit(queue.in_turn, "model", lambda: "older")
        with pytest.raises(StopException):
            ends.result(PATIENCE)
        gate.go.set()
        assert goes_on.result(PATIENCE) == "newer"


def test_who_has_left_is_dropped():
    queue, order = FairQueue(), []
    gate = Gate(queue)
    asked = [queue.submit("model", who, lambda who=who: order.append(who)) for who in "abc"]
    asked[1].cancel()
    assert queue.waiting("model") == 2
    gate.go.set()
    asked[2].result(PATIENCE)
    assert order == ["a", "c"]


def test_long_work_stands_before_no_other_lane():
    queue = FairQueue()
    gate = Gate(queue, "opening a model")
    assert queue.submit("demo", "a", lambda: 7).result(PATIENCE) == 7
    gate.go.set()


def test_work_of_one_lane_never_runs_twice_at_once():
    queue, inside, most = FairQueue(), [], []

    def work():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.001)
        inside.pop()

    asked = [queue.submit("model", number, work) for number in range(50)]
    for one in asked:
        one.result(PATIENCE)
    assert max(most) == 1


def test_work_of_a_lane_with_seats_runs_side_by_side_with_a_share_of_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    queue, both = FairQueue(), threading.Barrier(2)

    def work():
        both.wait(PATIENCE)
        return torch.get_num_threads()

    asked = [queue.submit("small", number, work, seats=2) for number in range(4)]
    assert [one.result(PATIENCE) for one in asked] == [3] * 4
    assert queue.submit("large", "a", torch.get_num_threads).result(PATIENCE) == 6
    torch.set_num_threads(torch.get_num_threads())  # threads to come begin with as many as here


def test_errors_are_the_asker_s_and_the_lane_goes_on():
    queue = FairQueue()
    with pytest.raises(ZeroDivisionError):
        queue.submit("model", "a", lambda: 1 // 0).result(PATIENCE)
    assert queue.submit("model", "a", lambda: 1).result(PATIENCE) == 1


def test_threads_end_with_their_work(monkeypatch):
    monkeypatch.setattr("app.workbench.queue.LINGER", 0.05)
    queue = FairQueue()
    for lane in range(20):
        queue.submit(lane, "a", lambda: None).result(PATIENCE)
        queue.submit(lane, "b", lambda: None, seats=2).result(PATIENCE)
    threads = [thread for those in list(queue.threads.values()) for thread in list(those)]
    for thread in threads:
        thread.join(PATIENCE)
    assert not queue.threads and not queue.lanes
    assert queue.submit(3, "a", lambda: 1).result(PATIENCE) == 1


def test_what_was_not_asked_for_the_longest_goes_first():
    here = Memory(100)
    here.put("a", 1, 40)
    here.put("b", 2, 40)
    here.find("a")
    here.put("c", 3, 40)
    assert here.find("b") is None
    assert here.find("a").value == 1 and here.used == 80


def test_what_is_in_use_stays():
    here, dropped = Memory(100), []
    here.put("a", 1, 60, in_use=lambda: True)
    here.put("b", 2, 30, dropped=lambda: dropped.append("b"))
    assert not here.free(50)
    assert here.find("a") and dropped == ["b"]
    here.put("huge", 3, 101)
    assert here.find("huge") is None and here.find("a")


def test_small_things_never_fill_the_budget(monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 10)
    monkeypatch.setattr(memory, "SMALL_ONES", 30)
    here = Memory(1000)
    here.put("model", 1, 500)
    for number in range(100):
        here.put(number, number, 10)
    assert here.used == 530 and here.find("model") and here.find(99) and not here.find(0)


def test_old_things_are_forgotten(monkeypatch):
    here = Memory(100)
    here.put("a", 1, 40)
    monkeypatch.setattr(memory, "AGE", -1.0)
    here.forget_old()
    assert not here.kept


def test_many_who_ask_at_once_make_it_once():
    here, made, found = Memory(10**6), [], []

    def make():
        made.append(1)
        time.sleep(0.05)
        return "thing"

    askers = [
        threading.Thread(target=lambda: found.append(here.get("key", make))) for _ in range(8)
    ]
    for one in askers:
        one.start()
    for one in askers:
        one.join(PATIENCE)
    assert found == ["thing"] * 8 and len(made) == 1 and not here.making


def test_bytes_are_counted():
    arrays = {"a": np.zeros(1000, np.float32), "b": (b"x" * 500, [np.zeros(10, np.uint8)])}
    assert 4510 <= size_of(arrays) < 6000


def test_results_are_kept_by_what_is_told_and_not_by_what_is_hidden(monkeypatch):
    here, calls = Memory(10**6), []
    monkeypatch.setattr(memory, "the_memory", lambda: here)

    @kept
    def double(number, _clip):
        calls.append(number)
        return 2 * number

    assert [double(1, "x"), double(1, "y"), double(_clip="z", number=1), double(2, "x")] == [
        *(2, 2, 2, 4)
    ]
    assert calls == [1, 2]


def test_the_budget_can_be_set(monkeypatch):
    monkeypatch.setattr("sys.argv", ["main.py", "--memory", "1.5"])
    assert memory.budget() == 1.5e9
    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.setenv("VJEPA_APP_MEMORY", "2")
    assert memory.budget() == 2e9
    monkeypatch.delenv("VJEPA_APP_MEMORY")
    assert memory.budget() == int(memory.SHARE * memory.available())


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text("1000000\n")
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(limit),))
    assert memory.available() == 1_000_000
    limit.write_text("max\n")
    assert memory.available() > 1_000_000


class Clips:
    """A room with a model of random weights, and what its Explorers encode."""

    def __init__(self, monkeypatch) -> None:
        self.encoded: list[str] = []
        monkeypatch.setattr(Explorer, "set_clip", lambda _, frames: self.encoded.append(frames))
        monkeypatch.setattr(rooms, "_explorer", lambda address: Explorer(VJEPA(TINY)))
        self.room = rooms.Rooms().room(ModelAddress("tiny"))

    def ask(self, *names: str) -> None:
        for name in names:
            self.room.ask(SimpleNamespace(id=name, frames=name), lambda explorer: explorer)


def test_a_small_model_keeps_clips_while_their_visitors_take_turns(monkeypatch):
    clips = Clips(monkeypatch)
    clips.ask(*"abab")
    clips.room.tidy()
    clips.ask("b")
    assert clips.encoded == ["a", "b"]
    monkeypatch.setattr(rooms, "REST", 0.0)
    clips.ask(*"ab")
    clips.room.tidy()
    clips.ask("b")
    assert clips.encoded == ["a", "b", "b"]


def test_a_large_model_keeps_one_clip(monkeypatch):
    monkeypatch.setattr(rooms, "SMALL", 0)
    clips = Clips(monkeypatch)
    clips.ask(*"aabab")
    assert clips.encoded == [*"abab"]
