"""A real server and visitors on its websocket: what one does costs the others nothing."""

import os
import signal
import struct
import subprocess
import sys
import threading
import tomllib
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import browser
import numpy as np
import psutil
import pytest
from siege import APOLOGY
from visitor import ConnectionClosed, Visitor, fetched

from app.mask_and_decode import answers
from app.workbench import models
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO
from app.workbench.session import DEFAULT_STEPS
from vjepa.errors import InputError

PATIENCE = 120
NOTHING = "nothing of the kind"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    log, before = tmp_path_factory.mktemp("serving") / "log.txt", children()
    with browser.serving(log) as address:
        (server,) = children() - before
        yield address, server


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


@pytest.fixture(scope="module")
def address(served):
    return served[0]


@pytest.fixture(scope="module")
def server(served):
    return served[1]


@pytest.fixture
def visitor(address):
    with Visitor(address, "clip=world-5") as here:
        here.wait_for_answer()
        yield here


def strokes(count: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        mask = np.zeros(DEMO.config.grid, bool)
        top, left = random.integers(0, 5, 2)
        mask[random.integers(0, 4) :, top : top + 3, left : left + 3] = True
        masks.append(mask)
    return masks


def test_answers_under_load_are_the_serial_ones(address):
    visitors = [Visitor(address, f"clip=world-{number}") for number in range(3)]
    for one in visitors:
        one.wait_for_answer()
    found = []
    for mask in strokes(1, seed=1):
        told = [one.paint(mask) for one in visitors]
        for number, (one, bits) in enumerate(zip(visitors, told, strict=True)):
            found.append((number, mask, one.wait_for_answer(bits)[:4]))
    for one in visitors:
        assert not one.exceptions
        one.leave()
    for number, mask, sheets in found:
        clip = load_clip(ClipAddress("world", str(number)), DEMO)
        question = answers.ask(clip, mask, (0, 1, 2, 3), DEFAULT_STEPS)
        assert tuple(sheets) == answers.fresh_answer(question, clip).samples


def test_of_many_strokes_in_a_row_only_the_last_are_answered(visitor):
    before, told = visitor.finished, [visitor.paint(mask) for mask in strokes(12, seed=2)]
    visitor.wait_for_answer(told[-1])
    assert visitor.finished - before < 6
    assert not visitor.exceptions


def upload(visitor: Visitor, name: str, data: bytes) -> int:
    """Sends a file as the browser does, and has the page take it; the status of the answer."""
    status = visitor.upload(name, data)
    visitor.run()
    return status


def test_an_upload_that_aborts_its_reader_costs_nobody_else_anything(address, visitor, make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    good = make_video(moving * 10).read_bytes()
    bad, place = bytearray(good), good.index(b"stts") + 8
    bad[place : place + 8] = struct.pack(">II", 1, 0x7FFFFFFF)
    with Visitor(address, "clip=world-6") as other:
        other.wait_for_answer()
        visitor.texts.clear()
        assert upload(visitor, "bad.mp4", bytes(bad)) < 300
        (mask,) = strokes(1, seed=3)
        other.wait_for_answer(other.paint(mask))
        visitor.listen(
            lambda: any("bad" in text for text in visitor.texts) or "upload" in clip_of(visitor)
        )
        assert upload(visitor, "good.mp4", good) < 300
        visitor.listen(lambda: "upload" in clip_of(visitor))
        visitor.wait_for_answer(visitor.paint(mask))
        assert not visitor.exceptions and not other.exceptions


class Executioner(threading.Thread):
    """Has what decodes for the server abort, as native code does, until its block ends."""

    def __init__(self, server: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.server, self.over, self.aborted = server, threading.Event(), 0

    def __enter__(self) -> "Executioner":
        self.start()
        psutil.wait_procs(workers_of(self.server), timeout=PATIENCE)  # a warm one is too quick
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join(PATIENCE)

    def run(self) -> None:
        while not self.over.wait(0.02):
            for worker in workers_of(self.server):
                with suppress(psutil.Error):
                    worker.send_signal(signal.SIGABRT)
                    self.aborted += 1


def workers_of(server: psutil.Process) -> list[psutil.Process]:
    """Its processes that decode; none where it has ended."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in server.children():
            with suppress(psutil.Error):
                if any("spawn_main" in word for word in child.cmdline()):
                    found.append(child)
    return found


def test_while_one_upload_aborts_its_processes_another_visitor_paints(
    address, server, visitor, make_video
):
    data = make_video(np.zeros((20, 48, 64, 3), np.uint8)).read_bytes()
    with Visitor(address, "clip=world-8") as other:
        other.wait_for_answer()
        with Executioner(server) as executioner:
            upload(visitor, "aborts.mp4", data)
            for mask in strokes(2, seed=6):
                other.wait_for_answer(other.paint(mask))
            told = "aborts.mp4 cannot be read"
            visitor.listen(lambda: any(told in text for text in visitor.texts))
        assert executioner.aborted
        upload(visitor, "lives.mp4", data)
        visitor.listen(lambda: "upload" in clip_of(visitor))
        assert not visitor.exceptions and not other.exceptions


def test_who_waits_for_processes_bears_a_server_that_has_ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        server = psutil.Process(ended.pid)
    with Executioner(server) as executioner:
        executioner.join(0.1)
        assert executioner.is_alive()
    assert not executioner.is_alive() and not executioner.aborted


def test_of_uploads_one_after_the_other_each_is_shown(visitor, make_video):
    frames = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    for brightness in (3, 6, 9):
        before = clip_of(visitor)
        upload(visitor, f"{brightness}.mp4", make_video(frames * brightness).read_bytes())
        visitor.listen(lambda before=before: clip_of(visitor) != before, PATIENCE)
        assert clip_of(visitor).startswith("upload")
    assert not visitor.exceptions


def test_back_leads_to_the_clip_before_though_the_address_did_not_follow(visitor, make_video):
    upload(visitor, "mine.mp4", make_video(np.zeros((20, 48, 64, 3), np.uint8)).read_bytes())
    visitor.listen(lambda: clip_of(visitor).startswith("upload"), PATIENCE)
    visitor.run()  # a click elsewhere: the address still names the clip before
    visitor.wait_for_answer(visitor.paint(strokes(1, seed=7)[0]))
    assert clip_of(visitor).startswith("upload")
    visitor.go_back("clip=world-5")
    visitor.listen(lambda: clip_of(visitor) == "world-5", PATIENCE)


def clip_of(visitor: Visitor) -> str:
    return visitor.pieces["painter"].note["clip"]["id"]


@pytest.mark.parametrize(
    "query",
    [{"model": "demo", "frames": "4096"}, {"fps": "61"}, {"clip": "world-" + "1" * 5000}],
)
def test_a_hostile_link_is_one_sentence_and_the_page(address, query):
    with Visitor(address, urlencode(query)) as one:
        one.wait_for_answer()
        one.listen(lambda: any(text.endswith((".", "anew.")) for text in one.texts))
        assert not one.exceptions


@pytest.mark.parametrize(
    "page", ["", "embeddings", "similarity", "surprise", "probes", "evaluation", "learn"]
)
def test_words_that_nothing_offers_count_as_nothing(address, page):
    with Visitor(address, "clip=world-5", page) as one:
        if not page:
            one.wait_for_answer()  # which brings choices along
        one.listen(lambda: one.finished > 0 and not one.running and (one.menus or one.segments))
        choices = [partial(one.choose, menu, NOTHING) for menu in one.menus]
        for told in ((), (NOTHING,), (NOTHING, NOTHING)):
            choices += [partial(one.press, segments, *told) for segments in one.segments]
        for choose in choices:
            before = one.finished
            choose()
            one.listen(lambda before=before: one.finished > before)
            assert not [text for text in one.texts if APOLOGY in text], choose
        assert not one.exceptions


def test_who_leaves_is_no_longer_waited_for(address, visitor):
    gone = [Visitor(address, f"clip=world-{number}") for number in range(20, 24)]
    for one in gone:
        one.wait_for_answer()
    for mask in strokes(3, seed=4):
        for one in gone:
            one.paint(mask)
    for one in gone:
        one.leave()
    (mask,) = strokes(1, seed=5)
    visitor.wait_for_answer(visitor.paint(mask))


def test_there_is_an_address_to_ask_whether_it_lives(address):
    assert fetched(f"{address}/_stcore/health")[0] == 200


def test_the_public_server_tells_and_opens_nothing(tmp_path, monkeypatch):
    port = browser.free_port()
    command = [sys.executable, "-m", "app.serve", "--address", "127.0.0.1", "--port", str(port)]
    with browser.running(command, tmp_path / "log.txt", port) as address:
        for path in ("metrics", "metrics/", "%6detrics", "/metrics"):
            assert b"active_sessions" not in fetched(f"{address}/_stcore/{path}")[1]
        assert fetched(f"{address}/_stcore/metrics")[0] == 404
        with Visitor(address, "model=/etc/passwd") as one:
            one.listen(lambda: any("opens no paths" in text for text in one.texts))
            assert not any("passwd" in text for text in one.texts)


def test_a_server_that_is_killed_leaves_no_process(tmp_path, make_video):
    data = make_video(np.zeros((20, 48, 64, 3), np.uint8)).read_bytes()
    before = children()
    with (
        browser.serving(tmp_path / "log.txt") as address,
        suppress(ConnectionClosed),
        Visitor(address, "clip=world-7") as one,
    ):
        one.listen(lambda: one.finished and one.uploader)
        upload(one, "mine.mp4", data)
        one.listen(lambda: "upload" in clip_of(one))
        (server,) = children() - before
        workers = server.children(recursive=True)
        assert workers
        server.kill()
        one.listen(lambda: False, patience=10)
    gone, left = psutil.wait_procs(workers, timeout=PATIENCE)
    assert gone and not left


def test_paths_are_for_those_who_sit_at_the_machine(monkeypatch):
    monkeypatch.delenv("VJEPA_APP_PATHS", raising=False)
    for listens, allowed in {"localhost": True, "0.0.0.0": False, None: False}.items():
        monkeypatch.setattr("streamlit.get_option", lambda name, at=listens: at)
        assert models.paths_allowed() == allowed


def test_a_server_for_strangers_does_not_tell_which_paths_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("VJEPA_APP_PATHS", "0")
    said = set()
    for path in (tmp_path, tmp_path / "nothing", Path(__file__), "/etc/shadow"):
        with pytest.raises(InputError) as caught:
            models.check(models.ModelAddress(str(path)))
        said.add(str(caught.value))
    assert len(said) == 1


def test_the_app_listens_to_its_own_machine_by_default():
    config = tomllib.loads((Path(__file__).parents[1] / ".streamlit/config.toml").read_text())
    assert config["server"]["address"] in models.LOOPBACK


def test_uploads_beyond_the_quota_are_refused(visitor):
    sent = [visitor.upload(f"{n}.mp4", b"x" * (95 * 2**20), keep=False) for n in range(3)]
    assert sent == [204, 204, 413]


def test_openmp_waits_passively_before_torch_is_there():
    script = (
        "import app, os, sys; assert os.environ['OMP_WAIT_POLICY'] == 'passive';"
        "assert 'torch' not in sys.modules"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script], cwd=root, env=clean, check=True, timeout=120)
