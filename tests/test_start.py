"""A server opens its model before anybody comes, and lets nobody wait for that."""

import ctypes
import sys
import threading
import time
from pathlib import Path

import browser
import psutil
import pytest
from streamlit.testing.v1 import AppTest
from visitor import Visitor, fetched

from app.workbench import housekeeping, rooms
from app.workbench.models import ModelAddress
from app.workbench.queue import FairQueue

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0


def told(log: Path, words: str) -> bool:
    """Whether the server's log says so, before long."""
    deadline = time.monotonic() + PATIENCE
    while words not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    return words in log.read_text()


@pytest.fixture
def empty(monkeypatch) -> rooms.Rooms:
    """Rooms of a server that has just been started."""
    made, queue = rooms.Rooms(), FairQueue()
    for module in (rooms, housekeeping):
        monkeypatch.setattr(module, "all_rooms", lambda: made)
    monkeypatch.setattr(rooms, "the_queue", lambda: queue)
    return made


@pytest.mark.parametrize("options", [["--address", "127.0.0.1"], ["--local"]])
def test_the_model_is_open_before_anybody_comes(tmp_path, options):
    log, port = tmp_path / "log.txt", browser.free_port()
    command = [sys.executable, "-m", "app.serve", "--port", str(port), *options]
    with browser.running(command, log, port) as address:
        assert fetched(f"{address}/_stcore/health")[0] == 200
        assert told(log, "physics opened in")


def test_any_first_page_has_the_model_opened(tmp_path):
    log = tmp_path / "log.txt"
    with browser.serving(log) as address, Visitor(address, page="gallery") as one:
        one.listen(lambda: one.finished > 0)
        assert told(log, "physics opened in")
        assert not one.exceptions


def test_while_the_model_is_opened_the_page_is_there(empty, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(rooms, "_explorer", lambda address: go.wait(PATIENCE))
    opening = housekeeping.open_default()
    page = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=PATIENCE).run()
    assert not opening.done() and not page.exception
    assert any("tokens predicted" in one.value for one in page.markdown)  # the answer that ships
    monkeypatch.setattr(rooms, "explorer_bytes", lambda explorer: 0)
    go.set()
    assert opening.result(PATIENCE)


def test_a_server_s_own_model_that_cannot_be_opened_is_in_the_log(empty, monkeypatch, tmp_path):
    said = []
    monkeypatch.setenv("VJEPA_APP_MODEL", str(tmp_path / "none"))
    monkeypatch.setattr(housekeeping.log, "error", lambda text, *given: said.append(text % given))
    with pytest.raises(Exception, match="none"):
        housekeeping.open_default().result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not said and time.monotonic() < deadline:  # who waits wakes before the log is told
        time.sleep(0.01)
    assert len(said) == 1 and said[0].startswith("none could not be opened: ")


def test_a_server_s_own_model_stays_when_its_last_visitor_leaves(empty, monkeypatch):
    monkeypatch.setenv("VJEPA_APP_MODEL", "own")
    own, other = empty.room(ModelAddress("own")), empty.room(ModelAddress("other"))
    empty.enter("he", own.address, other.address)
    empty.enter("he")
    empty.sweep()
    assert empty.room(own.address) is own
    assert empty.room(other.address) is not other


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not on glibc")
def test_what_was_freed_is_handed_back_to_the_system():
    """Small pieces under one that stays: glibc keeps them, however long nobody asks for them."""
    allocate = ctypes.CDLL(None).malloc
    allocate.restype = ctypes.c_void_p
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    pieces = [allocate(50_000) for _ in range(4000)]
    for piece in pieces:
        ctypes.memset(piece, 1, 50_000)
    for piece in pieces[:-1]:  # the last one holds the heap's end
        free(piece)
    before = psutil.Process().memory_info().rss
    housekeeping.hand_back()
    assert before - psutil.Process().memory_info().rss > 100e6
    free(pieces[-1])
