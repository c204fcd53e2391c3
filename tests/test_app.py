"""The page without a browser: what it shows, what it says to bad input, what a link restores."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers
from app.mask_and_decode import page as page_of_masks
from app.workbench import bench, catalogue, figures, links, rooms, session, top_row
from app.workbench.clip import ClipAddress, Upload, load_clip
from app.workbench.models import DEMO, ModelAddress
from vjepa.errors import InputError

ROOT = Path(__file__).parents[1]
GRID = DEMO.config.grid
TELL = bench.tell


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture
def page():
    return AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)


def shipped() -> answers.DecodedAnswer:
    """The answer that a visitor sees who touches nothing."""
    return answers.shipped()[
        answers.question_of(session.start_state(), load_clip(ClipAddress(), DEMO))
    ]


def numbers(page: AppTest) -> str:
    return next(m.value for m in page.markdown if "hidden" in m.value or ":material/" in m.value)


def paint(page: AppTest, mask: np.ndarray, **changes) -> AppTest:
    """Runs the page as after a stroke in the browser."""
    state = page.session_state["visitor"]
    stroke = {"clip": state.address.id, "rev": state.rev, "bits": figures.to_bits(mask)}
    page.session_state["painter"] = {"mask": stroke | changes}
    return page.run()


def block(rows: slice) -> np.ndarray:
    mask = np.zeros(GRID, bool)
    mask[:, rows] = True
    return mask


def test_first_paint_loads_no_torch():
    script = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        "page = AppTest.from_file('app/main.py', default_timeout=60).run();"
        "assert not page.exception, page.exception;"
        "assert any('tokens predicted' in m.value for m in page.markdown), page.markdown;"
        "assert 'torch' not in sys.modules and 'decoder' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=120)


def test_stroke_is_answered(page, model):
    page.run()
    mask = block(slice(0, 2))
    paint(page, mask)
    assert f"**{mask.sum()}** tokens predicted" in numbers(page)
    assert (page.session_state["visitor"].mask == mask).all()


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [(block(slice(0, 0)), "The mask is empty"), (block(slice(None)), "hides the whole clip")],
)
def test_empty_and_full_masks_get_a_sentence(page, model, mask, sentence):
    page.run()
    assert sentence in numbers(paint(page, mask))
    assert not page.exception
    assert "tokens predicted" in numbers(paint(page, block(slice(3, 5))))


def test_mask_of_another_grid_gets_a_sentence(page, model):
    page.run()
    paint(page, block(slice(0, 1)), bits=figures.to_bits(np.ones((2, 3, 3), bool)))
    assert "another grid" in page.warning[0].value
    assert "tokens predicted" in numbers(page)


@pytest.mark.parametrize("late", [{"clip": "bundled-city_timelapse"}, {"rev": -1}])
def test_late_stroke_is_ignored(page, model, late):
    before = page.run().session_state["visitor"].mask
    paint(page, block(slice(0, 1)), **late)
    assert (page.session_state["visitor"].mask == before).all()


def test_presets_replace_the_mask(page, model):
    page.run()
    for name, hidden in {"future": 0.5, "tube": 0.49, "random": 0.5}.items():
        rev = page.session_state["visitor"].rev
        page.button(key=f"preset_{name}").click().run()
        assert not page.exception
        state = page.session_state["visitor"]
        assert state.rev == rev + 1
        assert state.mask.mean() == pytest.approx(hidden, abs=0.01)
        assert f"**{state.mask.sum()}** tokens predicted" in numbers(page)


def test_stroke_after_a_preset_wins_and_one_before_it_does_not(page, model):
    page.run()
    paint(page, block(slice(0, 1)))
    page.button(key="preset_future").click().run()
    assert page.session_state["visitor"].mask.mean() == 0.5
    paint(page, block(slice(0, 1)))
    assert page.session_state["visitor"].mask.mean() == pytest.approx(1 / GRID[1])


def test_new_seeds_and_steps_ask_again(page, model):
    page.run()
    page.button(key="reroll").click().run()
    page.segmented_control(key="steps").set_value(1).run()
    state = page.session_state["visitor"]
    assert state.seeds == (4, 5, 6, 7)
    assert state.steps == 1
    assert "tokens predicted" in numbers(page)


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


@pytest.mark.filterwarnings("ignore:.*ScriptRunContext")
def test_what_is_said_of_a_widget_that_is_gone_changes_nothing():
    """A page can be left while an upload is on its way: Streamlit calls back all the same."""
    state = session.start_state()
    before = links.to_query(state)
    keys = {"start": "start_gone", "fps": "fps_gone"}
    top_row.take_timing(state, keys)
    for callback in (
        *(top_row.take_upload, top_row.take_model, top_row.open_path),
        *(page_of_masks.take_steps, page_of_masks.take_maps, page_of_masks.take_token),
    ):
        callback(state)
    assert links.to_query(state) == before
    assert (state.upload, state.opening, state.notice) == (None, None, "")


def test_start_past_the_end_gets_a_sentence(page, model):
    page.run()
    key = f"bundled_{ClipAddress().name}"
    page.number_input(key=f"start_{key}").set_value(999.0).run()
    assert "start" in page.warning[0].value
    assert page.session_state["visitor"].address == ClipAddress()
    page.number_input(key=f"start_{key}").set_value(0.5).run()
    assert not page.warning
    page.number_input(key=f"fps_{key}").set_value(15.0).run()
    assert page.session_state["visitor"].address == ClipAddress(start=0.5, fps=15.0)
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


def test_world_clips_are_drawn(page, model):
    page.query_params["clip"] = "world-7"
    page.run()
    assert not page.warning
    assert page.session_state["visitor"].address == ClipAddress("world", "7")
    assert "tokens predicted" in numbers(page)


def test_link_restores_the_page(page, model):
    page.run()
    mask = block(slice(1, 3))
    paint(page, mask)
    page.button(key="reroll").click().run()
    shown = parse_qs(urlsplit(page.code[0].value).query)
    other = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)
    other.query_params.update({name: values[0] for name, values in shown.items()})
    other.run()
    state = other.session_state["visitor"]
    assert (state.mask == mask).all()
    assert (state.address, state.seeds) == (ClipAddress(), (4, 5, 6, 7))
    for said, before in zip(numbers(other).split(" · "), numbers(page).split(" · "), strict=True):
        assert said == before or before.endswith(" s")  # the time is this answer's


@pytest.mark.parametrize(
    "query",
    [
        {"clip": "bundled-nothing"},
        {"clip": "elsewhere"},
        {"clip": "world-x"},
        {"clip": "upload-0123456789ab"},
        {"clip": "bundled-cup_tilt_zoom", "start": "soon"},
        {"clip": "bundled-cup_tilt_zoom", "start": "9999"},
        {"clip": "bundled-cup_tilt_zoom", "fps": "0"},
        {"mask": "8x7x7.torn"},
        {"mask": "2x3x3.eJz7DwABAQEA"},
        {"seed": "-1"},
        {"steps": "5"},
        {"view": "crystal-ball"},
        {"errors": "none"},
        {"clip": "world-"},
        {"clip": "world-" + "9" * 5000},
        {"clip": "world-²"},
        {"clip": "bundled-" + "x" * 300},
        {"fps": "61"},
        {"fps": ".1"},
        {"fps": "nan"},
        {"start": "1e400"},
        {"start": "9" * 5000},
        {"frames": "4096"},
        {"frames": "-8"},
        {"model": "demo", "frames": "4096"},
        {"seed": "9" * 5000},
        {"token": "7"},
        {"select": "8x7x7.torn"},
        {"steps": "4096", "seed": "-1", "fps": "0", "mask": "8x7x7.torn"},
    ],
)
def test_broken_link_gets_one_sentence(page, model, query):
    page.query_params.update(query)
    page.run()
    assert not page.exception
    assert len(page.warning) == 1
    assert page.warning[0].value.endswith(".")
    assert "tokens predicted" in numbers(page)


def test_the_rest_of_a_broken_link_is_taken(page, model):
    mask = block(slice(1, 3))
    page.query_params.update(
        {
            "clip": "bundled-bigbuckbunny",
            "start": "9999",
            "fps": "61",
            "frames": "4096",
            "mask": figures.to_link(mask),
            "seed": "8",
            "steps": "5",
        }
    )
    state = page.run().session_state["visitor"]
    assert len(page.warning) == 1
    assert state.address == ClipAddress("bundled", "bigbuckbunny")
    assert (state.mask == mask).all()
    assert (state.seeds[0], state.steps, state.opening) == (8, session.DEFAULT_STEPS, None)


ODD = [
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "4",
        "61",
        "nan",
        "inf",
        "1e400",
        "٣",
        "²",
        "0x10",
        "1_000",
        "1.5",
        "9" * 5000,
    ),
    *(
        "demo",
        "world-7",
        "world-",
        "bundled-bigbuckbunny",
        "upload-0123",
        "/etc/passwd",
        "a\x00b",
        "../..",
        "~",
    ),
    *(
        "8x7x7.eJwBAA",
        "8x7x7.",
        "x",
        "8x7x7.eJz7DwABAQEA",
        "<b>",
        "neighbours",
        "pixels",
        "💥" * 400,
    ),
]


def refused(query: dict[str, str], state: session.State) -> str:
    """What is wrong with a link, or nothing."""
    try:
        links.read_query(query, state)
    except InputError as error:
        return str(error)
    return ""


def test_generated_links_are_taken_or_refused_in_a_sentence(monkeypatch):
    monkeypatch.setenv("VJEPA_APP_PATHS", "0")
    names = ("model", "frames", "clip", "start", "fps", "mask", "seed", "steps", "token", "select")
    random = np.random.default_rng(0)
    for _ in range(300):
        state, chosen = session.start_state(), random.choice(names, random.integers(1, 5))
        query = {name: ODD[random.integers(len(ODD))] for name in chosen}
        said = refused(query, state)
        assert not said or (said.endswith(".") and len(said) < 200 and "passwd" not in said)
        assert state.steps in session.STEPS and state.mask.shape == GRID
        assert state.opening is None or "/" not in state.opening.name
        assert state.address.fps is None or 0.5 <= state.address.fps <= 60
        load_clip(replace(state.address, kind="bundled", name="bigbuckbunny", start=0.0), DEMO)


def test_what_nobody_foresaw_is_one_sentence_with_a_number(monkeypatch, caplog):
    script = (
        "from app.workbench import bench\n"
        "with bench.told_in_a_sentence():\n"
        "    open('/etc/no/such/secret')\n"
    )
    monkeypatch.setattr("app.workbench.bench.tell", TELL)
    page = AppTest.from_string(script).run()
    (error,) = page.error
    assert not page.exception and "/etc" not in error.value
    reference = re.search(r"number (\w{8}) ", error.value)[1]
    told = next(record for record in caplog.records if reference in record.getMessage())
    assert "/etc/no/such/secret" in str(told.exc_info[1])


def test_a_model_that_cannot_be_opened_is_not_tried_on_and_on():
    state = session.start_state()
    state.painted, state.opening = True, ModelAddress("/no/such/model")
    room = rooms.model_room(state.opening)
    bench.open_awaited(state)
    with pytest.raises(InputError):
        room.loading.result(60)
    failed = room.loading
    assert bench.open_awaited(state)  # else its sentence would never come
    assert room.loading is failed
    rooms.all_rooms().close(room.address)


def test_starts_that_differ_little_are_other_clips():
    one, other = ClipAddress(start=1.0000001), ClipAddress(start=1.0000002)
    assert one.id != other.id
    state, copy = session.start_state(), session.start_state()
    state.address = one
    links.read_query(links.to_query(state), copy)
    assert copy.address == one


def test_the_same_bytes_keep_each_visitor_s_name(make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    data = make_video(moving * 10).read_bytes()
    titles = []
    for name in ("mine.mp4", "yours.mp4"):
        upload = Upload(name, data)
        titles.append(load_clip(upload.address, DEMO, upload).title)
    assert titles == ["mine", "yours"]


def test_masks_survive_both_ways_of_writing():
    mask = np.random.default_rng(0).random(GRID) < 0.4
    assert (figures.from_bits(figures.to_bits(mask), GRID) == mask).all()
    assert (figures.from_link(figures.to_link(mask), GRID) == mask).all()


def test_query_of_a_fresh_visit_restores_it():
    state = session.start_state()
    other = session.start_state()
    other.send_mask(~state.mask)
    links.read_query(links.to_query(state), other)
    assert (other.mask == state.mask).all()


OLD_LINK = (
    "clip=bundled-bigbuckbunny&mask=8x7x7.eNpjYEACBRYyQPJBgQWQPPCwAEg2HH7IgAoAnDsGgg&start=2.5"
    "&fps=4&seed=4&steps=8&token=0&view=neighbours&errors=pixels"
    "&select=8x7x7.eNrjYEAAAQbCoAEABIkAmQ"
)
"""As the app made it before its files were moved."""


def test_an_old_link_opens_the_same_view():
    state = session.start_state()
    links.read_query({k: v[0] for k, v in parse_qs(OLD_LINK).items()}, state)
    mask = np.zeros((8, 7, 7), bool)
    mask[2:6, 1:4, 3:6] = True
    assert (state.mask == mask).all()
    assert state.address == ClipAddress("bundled", "bigbuckbunny", 2.5, 4.0)
    assert (state.seeds, state.steps, state.mask_token) == ((4, 5, 6, 7), 8, 0)
    assert state.neighbours and state.pixel_maps
    assert state.selection == {3, 100, 391}
    assert parse_qs(urlencode(links.to_query(state))) == parse_qs(OLD_LINK)


def test_a_link_keeps_what_is_shown_and_how():
    state, other = session.start_state(), session.start_state()
    state.neighbours = state.pixel_maps = True
    state.steps = 16
    links.read_query(links.to_query(state), other)
    assert (other.neighbours, other.pixel_maps, other.steps) == (True, True, 16)


def test_uploads_leave_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    upload = Upload("../../notes.mp4", b"no video at all")
    with pytest.raises(InputError):
        load_clip(upload.address, DEMO, upload)
    assert not list(tmp_path.iterdir())


def test_pasting_leaves_visible_pixels_alone():
    clip = load_clip(ClipAddress(), DEMO)
    first = shipped()
    hidden = answers.hidden_pixels(first.mask, clip.frames.shape)[..., 0]
    pasted = answers.pasted(first.samples[0], first.mask, clip)
    assert (pasted[~hidden] == clip.frames[~hidden]).all()
    assert (pasted[hidden] != clip.frames[hidden]).any()


def test_saved_answer_comes_back(tmp_path):
    first = shipped()
    answers.save(first, tmp_path)
    again = answers.load(tmp_path)
    assert again.samples == first.samples
    assert again.summary(1.0) == first.summary(1.0)
    assert (again.fill, again.psnr) == (first.fill, first.psnr)


def test_shape_known_before_loading_is_the_models(model):
    assert DEMO.config == rooms.model_room().open().result().config


@pytest.mark.parametrize("name", [n for n in catalogue.catalogue() if n != "city_timelapse"])
def test_a_bundled_clip_opens_where_the_model_is_ahead_of_the_best_fill(name):
    """By 2 dB; lights that come and go are beyond it."""
    assert answers.load(answers.FIRST_VIEW / name).gain >= 2


def test_shipped_answer_is_the_models(model):
    """After training another demo model: `python -m app.make_first_view`."""
    first = shipped()
    fresh = answers.fresh_answer(first.question, load_clip(ClipAddress(), DEMO))
    np.testing.assert_allclose(fresh.error, first.error, atol=0.02)
