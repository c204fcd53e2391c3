"""The probes page: three readings of one clip, and what is said about them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import vjepa
from app.probes import page
from app.probes.charts import class_bars
from app.workbench import figures, rooms
from app.workbench.catalogue import catalogue, first_clip
from app.workbench.clip import ClipAddress, load_clip, world_scene
from app.workbench.models import DEMO

GRID = DEMO.config.grid
OWN = DEMO.config.last_layer
PAGE = "from app import window; from app.probes.page import page; window.dress('', ''); page()"


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture(scope="module")
def clip():
    return load_clip(ClipAddress(), DEMO)


def middle() -> np.ndarray:
    mask = np.zeros(GRID, bool)
    mask[:, 2:5, 2:5] = True
    return mask


def read(clip, mask, task="appearance"):
    return page.read(clip.id, task, figures.to_link(mask), clip, mask)


@pytest.mark.parametrize("task", page.TASKS)
def test_the_whole_clip_is_read_as_the_library_reads_it(model, clip, task):
    features = rooms.ask(clip, lambda explorer: explorer.targets[None, :, OWN].float())
    probe = vjepa.load_probe(page.PROBES / task)
    expected = probe(features).softmax(-1)[0].numpy()
    np.testing.assert_allclose(read(clip, middle(), task)["whole"].shares, expected, atol=1e-5)
    assert len(probe.classes) == len(expected)


def test_a_reading_looks_at_its_own_tokens_only(model, clip):
    mask = middle()
    readings = read(clip, mask)
    assert (np.isnan(readings["context"].gaze) == mask).all()
    for name in ("whole", "restored"):
        assert not np.isnan(readings[name].gaze).any()
    for reading in readings.values():
        assert np.nanmean(reading.gaze) == pytest.approx(1, abs=1e-3)
        assert reading.shares.sum() == pytest.approx(1, abs=1e-5)


def test_what_is_hidden_reaches_only_the_reading_of_the_whole(model, clip):
    mask, side = middle(), DEMO.config.patch_size
    frames, hidden = clip.frames.copy(), slice(2 * side, 5 * side)
    frames[:, hidden, hidden] = 255 - frames[::-1, hidden, hidden]
    other = replace(clip, id="changed", frames=frames)
    before, after = read(clip, mask), read(other, mask)
    for name in ("context", "restored"):
        np.testing.assert_array_equal(before[name].shares, after[name].shares)
    assert not np.array_equal(before["whole"].shares, after["whole"].shares)


def test_order_of_tokens_does_not_matter(model, clip):
    probe = page.probe_of("motion")
    tokens = rooms.ask(clip, lambda explorer: explorer.targets[:, OWN].float().cpu())
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))
    straight = page.reading(probe, tokens, torch.arange(len(tokens)), GRID)
    shuffled = page.reading(probe, tokens[order], order, GRID)
    np.testing.assert_allclose(straight.shares, shuffled.shares, atol=1e-5)
    np.testing.assert_allclose(straight.gaze, shuffled.gaze, atol=1e-4)


@pytest.mark.parametrize(
    ("restored", "said"), [(0.6, "bring it back to **60%**"), (0.305, "hardly"), (0.1, "down to")]
)
def test_the_verdict_says_what_the_predictions_do(restored, said):
    gaze = np.ones(GRID, np.float32)
    shares = {"whole": 0.9, "context": 0.3, "restored": restored}
    readings = {
        name: page.ProbeReading(np.array([1 - share, share]), gaze)
        for name, share in shares.items()
    }
    sentence = page.verdict(readings, ("sea_life", "tool"), "tool")
    assert sentence.startswith("True: **tool**, 90% from the whole clip, **30%**")
    assert sentence.endswith("A guess gives 50%.")
    assert said in sentence


def test_bars_keep_the_order_and_the_numbers():
    shares = {"whole": np.array([0.7, 0.2]), "visible": np.array([0.1, 0.6])}
    figure = class_bars(["tool", "bird"], shares, 0.5)
    assert [list(bar.y) for bar in figure.data] == [["tool", "bird"]] * 2
    assert [list(bar.x) for bar in figure.data] == [[0.7, 0.2], [0.1, 0.6]]
    assert figure.layout.shapes[0].x0 == 0.5


def test_the_true_class_is_among_the_bars_however_unlikely():
    shares = np.linspace(0.3, 0.0, 12)
    readings = {"whole": page.ProbeReading(shares, np.ones(GRID, np.float32))}
    classes = tuple("abcdefghijkl")
    (bar,) = page.bars(readings, classes, "l").data
    assert list(bar.y) == ["l (true)", *"abcde"]


def test_each_probe_tells_the_truth_of_clips_of_its_world_and_is_silent_about_others(model):
    run = AppTest.from_string(PAGE, default_timeout=120).run()
    assert not run.exception
    assert the_true(run) == catalogue()[first_clip()].labels["event"]  # of the clip that is first
    run.segmented_control(key="probe_task_event").set_value("motion").run()
    assert the_true(run) is None
    run.button(key="fitting").click().run()
    address = run.session_state["visitor"].address
    learned = json.loads((page.PROBES / "motion" / "config.json").read_text())["training"]
    assert (address.kind, world_scene(address.name)[0]) == ("world", learned["level"])
    assert the_true(run) == load_clip(address, DEMO).labels["motion"]
    run.session_state["visitor"].choose(ClipAddress(name="cup_tilt_zoom"))
    run.run()
    assert the_true(run) is None and not run.exception


def the_true(run: AppTest) -> str | None:
    """The class that the page says is the true one."""
    said = [m.value for m in run.markdown if m.value.startswith("True: ")]
    return said[0].split("**")[1].replace(" ", "_") if said else None


def test_what_another_part_of_a_clip_shows_is_not_claimed():
    assert load_clip(ClipAddress(), DEMO).labels
    assert not load_clip(ClipAddress(fps=15.0), DEMO).labels
    assert not load_clip(ClipAddress(start=0.5), DEMO).labels


def test_the_page_changes_with_the_mask_and_survives_an_empty_one(model):
    page = AppTest.from_string(PAGE, default_timeout=120)
    page.query_params["clip"] = "world-7"
    page.run()
    first = next(m.value for m in page.markdown if "from the whole clip" in m.value)
    for mask, expected in ((middle(), None), (np.zeros(GRID, bool), "The mask is empty")):
        state = page.session_state["visitor"]
        bits = figures.to_bits(mask)
        page.session_state["painter"] = {
            "mask": {"clip": state.address.id, "rev": state.rev, "bits": bits}
        }
        page.run()
        assert not page.exception
        if expected:
            assert expected in page.warning[0].value
        else:
            now = next(m.value for m in page.markdown if "from the whole clip" in m.value)
            assert now != first
    page.session_state["painter"]["mask"]["bits"] = figures.to_bits(middle())
    page.run()
    page.segmented_control(key="probe_task_appearance").set_value("motion").run()
    assert not page.exception
    assert not page.warning
