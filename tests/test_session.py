"""What a visitor's choices do to each other, and what clips open with."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers
from app.workbench import catalogue, links, rooms, session
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO
from decoder.pipeline import STEPS
from vjepa import masks
from vjepa.data.clips import bundled_clips

ROOT = Path(__file__).parents[1]
GRID = DEMO.config.grid
FRAMES = DEMO.config.num_frames


@pytest.fixture
def page():
    rooms.model_room().open().result()
    return AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)


def own_mask() -> np.ndarray:
    mask = np.zeros(GRID, bool)
    mask[:, 0] = True
    return mask


def numbers(page: AppTest) -> str:
    return next(m.value for m in page.markdown if "hidden" in m.value)


def test_the_app_takes_the_library_s_steps():
    assert session.DEFAULT_STEPS == STEPS
    assert STEPS in session.STEPS


def test_every_bundled_clip_has_an_entry_and_nothing_else_has():
    told = json.loads(catalogue.FILE.read_text())
    assert set(told) == set(bundled_clips())
    assert all(entry["title"] and entry["licence"] for entry in told.values())


@pytest.mark.parametrize("name", catalogue.catalogue())
@pytest.mark.parametrize("grid", [GRID, (4, 4, 4), (8, 14, 14)])
def test_a_bundled_clip_opens_where_something_is_hidden_and_something_seen(name, grid):
    mask = catalogue.default_mask(name, grid)
    assert mask.shape == grid
    assert mask.any() and not mask.all()
    frame = catalogue.opening_frame(name, mask, FRAMES)
    assert mask[frame * grid[0] // FRAMES].any()


@pytest.mark.parametrize("hidden", [3, 7])
def test_any_clip_opens_at_a_hidden_frame_where_there_is_one(hidden):
    mask = np.zeros(GRID, bool)
    assert catalogue.opening_frame("world", mask, FRAMES) == 0
    mask[hidden] = True
    assert catalogue.opening_frame("world", mask, FRAMES) == hidden * FRAMES // GRID[0]


def test_a_mask_that_nobody_painted_follows_the_clip_and_a_painted_one_stays():
    state = session.start_state()
    state.choose(ClipAddress("bundled", "cockatoo"))
    assert (state.mask == catalogue.default_mask("cockatoo", GRID)).all()
    state.mask = own_mask()
    state.choose(ClipAddress("bundled", "bigbuckbunny"))
    assert (state.mask == own_mask()).all()


@pytest.mark.parametrize(
    "address",
    [
        ClipAddress("world", "7"),
        ClipAddress("bundled", "cockatoo"),
        ClipAddress().at(1.0, None),
    ],
)
def test_another_clip_has_nothing_selected(address):
    state = session.start_state()
    state.select([3, 4])
    state.choose(address)
    assert not state.selection


def test_drawn_scenes_stay_to_go_back_to(page):
    page.run()
    state = page.session_state["visitor"]
    first, second = ClipAddress("world", "1"), ClipAddress("world", "2")
    for world in (first, second, first):
        page.session_state["picker"] = {"pick": world.id}
        page.run()
        assert state.address == world
    assert state.worlds == [first, second]
    for seed in range(10, 20):
        state.choose(ClipAddress("world", str(seed)))
    assert len(state.worlds) == session.WORLDS


def test_files_stay_to_go_back_to(page, make_video):
    moving = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    page.run()
    for name, gain in (("one", 10), ("two", 5)):
        data = make_video(moving * gain, name=f"{name}.mp4").read_bytes()
        page.file_uploader(key="uploader").set_value((f"{name}.mp4", data, "video/mp4")).run()
    state = page.session_state["visitor"]
    one, two = state.brought
    assert (one.name, state.address) == ("one.mp4", two.address)
    page.session_state["picker"] = {"pick": one.address.id}
    page.run()
    assert not page.exception and not page.warning
    assert state.address == one.address


def test_an_answer_that_was_there_takes_no_time(page):
    page.run()
    assert "from memory" in numbers(page)
    page.button(key="reroll").click().run()
    page.button(key="reroll").click().run()
    page.button(key="reroll").click().run()  # seeds that no other test asks for
    assert " s · " in numbers(page)
    page.run()
    assert "from memory" in numbers(page)


def test_shipped_answers_are_better_than_the_best_fill():
    """Those that a visitor sees who chooses a bundled clip and touches nothing else."""
    for name in catalogue.catalogue():
        state = session.start_state()
        state.choose(ClipAddress("bundled", name))
        question = answers.question_of(state, load_clip(state.address, DEMO))
        answer, expected = (answers.shipped()[q] for q in (question, question.expected()))
        samples = [answer.psnr[f"sample {i + 1}"] for i in range(session.SEEDS)]
        assert np.mean(samples) > answer.psnr["best fill"]
        assert expected.psnr["sample 1"] > answer.psnr["best fill"]


def test_the_best_fill_is_the_best_and_leaves_the_rest_alone():
    from decoder.scoring.metrics import psnr, trivial_fills

    clip, mask = load_clip(ClipAddress(), DEMO), session.start_state().mask
    kind, sheet, likeness = answers.best_fill(clip.id, answers.to_link(mask), clip)
    hidden = answers.hidden_pixels(mask, clip.frames.shape)[..., 0]
    fills = trivial_fills(clip.frames, hidden)
    assert likeness == max(psnr(fill, clip.frames, hidden) for fill in fills.values())
    drawn = answers.pasted(sheet, mask, clip)
    assert (drawn[~hidden] == clip.frames[~hidden]).all()
    assert psnr(drawn, clip.frames, hidden) == pytest.approx(likeness, abs=0.2)
    assert kind in answers.FILLS and set(answers.FILLS) == set(fills)


@pytest.mark.parametrize("name", ["short", "long"])
def test_training_s_own_masks_are_known(name):
    generator = torch.Generator().manual_seed(0)
    drawn = [masks.multiblock(GRID, name, generator=generator).numpy() for _ in range(200)]
    for in_time in (True, False):
        known = [answers.kind_in_training(mask, in_time=in_time) for mask in drawn]
        assert all(known)
        assert known.count(name) > 120  # they overlap in how much they hide


def test_masks_in_time_are_known_where_training_had_them():
    generator = torch.Generator().manual_seed(0)
    boxes = masks.span_batch(GRID, 50, generator=generator).numpy()
    assert {answers.kind_in_training(mask, in_time=True) for mask in boxes} == {"span"}
    future = masks.future(GRID, 3).numpy()
    assert answers.kind_in_training(future, in_time=True) == "future"
    for mask in (*boxes, future):
        assert not answers.kind_in_training(mask, in_time=False)


@pytest.mark.parametrize("name", ["tube", "random"])
def test_scattered_patches_are_like_no_mask_of_training(name):
    mask = masks.make(name, GRID, torch.Generator().manual_seed(0)).numpy()
    assert not answers.kind_in_training(mask, in_time=True)


@pytest.fixture
def goes_back(monkeypatch):
    """Runs are what the browser's Back asks for, from when this is called on."""
    context = SimpleNamespace(is_history_navigation=True)

    def begin():
        monkeypatch.setattr(links, "get_script_run_ctx", lambda **_: context)

    return begin


def test_an_address_of_another_clip_is_gone_back_to(page, goes_back):
    page.run()
    page.session_state["picker"] = {"pick": "cockatoo"}
    page.run()
    page.button(key="reroll").click().run()
    state = page.session_state["visitor"]
    assert (state.linked_clip, state.seeds[0]) == ("bundled-cockatoo", 4)
    del page.session_state["picker"]
    page.query_params["clip"] = "bundled-bigbuckbunny"
    page.run()
    assert state.linked_clip == "bundled-cockatoo"  # an address alone is no wish
    page.query_params["clip"] = "bundled-bigbuckbunny"
    goes_back()
    page.run()
    assert (state.linked_clip, state.seeds[0]) == ("bundled-bigbuckbunny", 0)
    assert (state.mask == catalogue.default_mask("bigbuckbunny", GRID)).all()


def test_a_pinned_answer_stays_through_other_clips(page):
    page.run()
    page.button(key="pin").click().run()
    state = page.session_state["visitor"]
    kept = state.pinned
    assert [panel.title for panel in kept][:2] == ["model sees", "sample 1"]
    page.session_state["picker"] = {"pick": "cockatoo"}
    page.run()
    assert not page.exception
    assert state.pinned is kept
    title = catalogue.catalogue()[catalogue.first_clip()].title
    assert any(f"{title}, 19% hidden, seed 0" in m.value for m in page.markdown)
    page.button(key="unpin").click().run()
    assert not state.pinned
