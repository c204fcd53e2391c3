"""Foreign media in processes of their own: what is broken there breaks nothing here."""

import os
import struct
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from app.workbench import decoding, memory, uploads
from app.workbench.clip import Upload
from app.workbench.session import start_state
from vjepa.data.clips import read_frames
from vjepa.errors import InputError

SETTINGS = (112, 16, 0.0, None)


def elsewhere(path: Path, read=read_frames, settings=SETTINGS):
    return decoding.elsewhere(Future.result, read, path, *settings)


def outcome(path: Path) -> str:
    """What is wrong with a file, or nothing."""
    try:
        elsewhere(path)
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module", autouse=True)
def no_processes_left():
    yield
    decoding.forget(decoding.shared_pool())


def crash(path: Path) -> None:
    os.abort()


def sleep(path: Path) -> None:
    decoding.set_timer(0.2)
    time.sleep(60)


def swell(path: Path) -> int:
    return len(bytearray(2 * decoding.MEMORY))


def name_of_main(path: Path) -> str:
    import sys

    return str(getattr(sys.modules.get("__mp_main__"), "__file__", None))


def test_frames_are_those_that_are_read_here(cup_clip):
    assert (elsewhere(cup_clip) == read_frames(cup_clip, *SETTINGS)).all()


@pytest.mark.parametrize("read", [crash, sleep, swell])
def test_a_crash_a_hang_and_a_bomb_are_one_sentence(cup_clip, read):
    with pytest.raises(InputError, match=r"cup_tilt_zoom\.mp4 cannot be read.*another one\.$"):
        elsewhere(cup_clip, read, ())
    assert elsewhere(cup_clip).shape == (16, 112, 112, 3)


def test_whoever_reads_beside_a_crash_is_answered(cup_clip):
    frames = read_frames(cup_clip, *SETTINGS)
    pool = decoding.shared_pool()
    pool.submit(decoding.within_limits, crash, cup_clip)
    for _ in range(3):
        assert (elsewhere(cup_clip) == frames).all()


def test_a_worker_does_not_run_the_page(cup_clip):
    assert elsewhere(cup_clip, name_of_main, ()) == "None"


def test_a_claim_of_too_many_samples_is_one_sentence(make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    path = make_video(moving * 10)
    data = bytearray(path.read_bytes())
    place = data.index(b"stts") + 8
    data[place : place + 8] = struct.pack(">II", 1, 0x7FFFFFFF)
    path.write_bytes(data)
    said = outcome(path)  # nothing: a reader may do without that table
    assert not said or (said.startswith("video.mp4") and said.endswith("."))


def test_too_many_pixels_are_one_sentence(tmp_path):
    still, video = tmp_path / "still.png", tmp_path / "video.mkv"
    Image.new("1", (13_000, 13_000)).save(still)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 8_000, 6_000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((6_000, 8_000), np.uint8), format="gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for path in (still, video):
        with pytest.raises(InputError, match=r"more than .* pixels"):
            elsewhere(path)


def test_a_small_file_of_large_frames_is_within_the_limits(tmp_path):
    """A few kilobytes that are 36 megapixels a frame: shown, or refused in a sentence."""
    path = tmp_path / "large.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 8_000, 4_500, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((4_500, 8_000), np.uint8), format="gray")
        for number in range(3):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    said = outcome(path)
    assert not said or said.endswith(".")


class Manager:
    """As much of Streamlit's upload manager as the quota sees."""

    def __init__(self) -> None:
        self.file_storage: dict = {}

    def add_file(self, session_id, file) -> None:
        self.file_storage.setdefault(session_id, {})[file.file_id] = file


def test_uploads_have_a_quota_each_and_in_all(monkeypatch):
    here = memory.Memory(40)
    monkeypatch.setattr(uploads, "the_memory", lambda: here)
    monkeypatch.setattr(uploads, "EACH", 6)
    manager = Manager()
    add = uploads.within_quota(manager, manager.add_file)

    def file(name, size):
        return SimpleNamespace(file_id=name, data=b"x" * size)

    add("a", file("1", 3))
    add("a", file("2", 3))
    add("a", file("2", 3))  # in place of itself
    with pytest.raises(HTTPException):
        add("a", file("3", 1))
    add("b", file("1", 4))
    with pytest.raises(HTTPException):
        add("c", file("1", 1))
    assert [len(files) for files in manager.file_storage.values()] == [2, 1]


def test_uploads_are_gone_with_their_visitor(monkeypatch):
    here, gone = memory.Memory(10**6), set()
    monkeypatch.setattr(uploads, "the_memory", lambda: here)
    monkeypatch.setattr(uploads, "is_here", lambda visitor: visitor not in gone)
    guests, states = uploads.Guests(), [start_state() for _ in range(2)]
    for who, state in zip("ab", states, strict=True):
        state.upload = Upload("same.mp4", b"same")
        guests.welcome(who, state)
    digest = states[0].upload.address.name
    here.put(("clip", f"upload-{digest}"), 1, 10)
    here.put(("clip", "upload-other"), 1, 10)
    gone.add("a")
    guests.sweep()
    assert states[0].upload is None and len(here.kept) == 2  # the other one has it too
    gone.add("b")
    guests.sweep()
    assert list(here.kept) == [("clip", "upload-other")] and not guests.states
