"""The page without a browser: what it shows, and what it says to bad input."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scripted import GRID, block, main_page, numbers, paint
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers
from app.mask_and_decode import page as page_of_masks
from app.workbench import bench, catalogue, figures, links, rooms, session, top_row
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO, ModelAddress
from vjepa.errors import InputError

ROOT = Path(__file__).parents[1]
TELL = bench.tell


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture
def page():
    return main_page()


def shipped() -> answers.DecodedAnswer:
    """The answer that a visitor sees who touches nothing."""
    return answers.shipped()[
        answers.question_of(session.start_state(), load_clip(ClipAddress(), DEMO))
    ]


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


@pytest.mark.parametrize("late", [{"clip": "bundled-cockatoo"}, {"rev": -1}])
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


def test_world_clips_are_drawn(page, model):
    page.query_params["clip"] = "world-7"
    page.run()
    assert not page.warning
    assert page.session_state["visitor"].address == ClipAddress("world", "7")
    assert "tokens predicted" in numbers(page)


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


@pytest.mark.parametrize("name", catalogue.catalogue())
def test_a_bundled_clip_opens_where_the_model_is_ahead_of_the_best_fill(name):
    """By 2 dB."""
    assert answers.load(answers.FIRST_VIEW / name).gain >= 2


def test_shipped_answer_is_the_models(model):
    """After training another demo model: `python -m app.make_first_view`."""
    first = shipped()
    fresh = answers.fresh_answer(first.question, load_clip(ClipAddress(), DEMO))
    np.testing.assert_allclose(fresh.error, first.error, atol=0.02)
