"""Files that visitors bring: they become the clip, or a sentence."""

import numpy as np
import pytest
from scripted import block, main_page, numbers, paint

from app.workbench import rooms, top_row
from app.workbench.clip import ClipAddress, Upload, load_clip
from app.workbench.models import DEMO
from vjepa.errors import InputError


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture
def page():
    return main_page()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notes.mp4", b"these are notes, no video"),
        ("empty.mp4", b""),
        ("torn.png", b"\x89PNG\r\n\x1a\n torn"),
    ],
)
def test_bad_upload_gets_a_sentence_and_keeps_the_clip(page, model, name, data):
    page.run()
    page.file_uploader(key="uploader").set_value((name, data, "video/mp4")).run()
    assert page.warning[0].value.startswith(name)
    assert "choose" in page.warning[0].value
    assert not page.exception
    assert page.session_state["visitor"].address == ClipAddress()
    assert "tokens predicted" in numbers(page)
    assert not paint(page, block(slice(3, 5))).exception


def test_a_bad_upload_after_a_good_one_keeps_the_good_one(page, model, make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    data = make_video(moving * 10, name="mine.mp4").read_bytes()
    page.run()
    uploader = page.file_uploader(key="uploader")
    uploader.set_value(("視" * 251 + ".mp4", data, "video/mp4")).run()
    assert not page.exception and not page.warning
    mine = page.session_state["visitor"].address
    assert mine.kind == "upload"
    page.file_uploader(key="uploader").set_value(("empty.mp4", b"", "video/mp4")).run()
    assert not page.exception
    assert page.warning[0].value.startswith("empty.mp4 is empty")
    assert page.session_state["visitor"].address == mine
    page.number_input(key=f"start_upload_{mine.name}").set_value(100.0).run()
    assert not page.exception
    assert "lasts 0.67 s" in page.warning[0].value
    assert page.session_state["visitor"].address == mine


def test_a_file_that_is_not_read_any_more_is_let_go(page, model, make_video, monkeypatch):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    data = make_video(moving * 10, name="mine.mp4").read_bytes()
    page.run()
    page.file_uploader(key="uploader").set_value(("mine.mp4", data, "video/mp4")).run()
    state = page.session_state["visitor"]
    state.choose(ClipAddress("world", "5"))

    def read(address, *rest):
        if address.kind == "upload":
            raise InputError("mine.mp4 is torn: choose another file.")
        return load_clip(address, *rest)

    monkeypatch.setattr(top_row, "load_clip", read)
    page.run()
    assert page.warning[0].value.startswith("mine.mp4 is torn") and not page.exception
    assert state.upload is None and state.address.kind == "world"
    assert "tokens predicted" in numbers(page)


def test_upload_becomes_the_clip(page, model, make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    data = make_video(moving * 10, name="mine.mp4").read_bytes()
    page.run()
    page.file_uploader(key="uploader").set_value(("mine.mp4", data, "video/mp4")).run()
    assert not page.warning
    assert page.session_state["visitor"].address.kind == "upload"
    assert "tokens predicted" in numbers(page)


def test_one_frame_is_a_still_clip_with_a_note(page, model, make_video):
    data = make_video(np.full((1, 48, 64, 3), 90, np.uint8), name="one.mp4").read_bytes()
    page.run()
    page.file_uploader(key="uploader").set_value(("one.mp4", data, "video/mp4")).run()
    assert "does not move" in page.info[0].value
    assert "tokens predicted" in numbers(page)


def test_a_clip_shorter_than_the_model_s_gets_a_note(page, model, make_video):
    frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), np.uint8)
    page.run()
    data = make_video(frames, name="short.mp4").read_bytes()
    page.file_uploader(key="uploader").set_value(("short.mp4", data, "video/mp4")).run()
    assert "11 of the 16 frames repeat" in page.info[0].value
    assert "tokens predicted" in numbers(page)


def test_the_same_bytes_keep_each_visitor_s_name(make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    data = make_video(moving * 10).read_bytes()
    titles = []
    for name in ("mine.mp4", "yours.mp4"):
        upload = Upload(name, data)
        titles.append(load_clip(upload.address, DEMO, upload).title)
    assert titles == ["mine", "yours"]


def test_uploads_leave_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    upload = Upload("../../notes.mp4", b"no video at all")
    with pytest.raises(InputError):
        load_clip(upload.address, DEMO, upload)
    assert not list(tmp_path.iterdir())
