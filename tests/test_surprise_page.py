"""The surprise page: whose errors it shows, what a scene is, and what is said about it."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers
from app.surprise import impossible
from app.surprise.charts import accuracies, curves
from app.workbench import clip_features, figures, rooms
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO
from vjepa.analysis.surprise import surprise
from vjepa.data.clips import normalize
from vjepa.world.violations import KINDS

GRID = DEMO.config.grid
PAGE = "from app import window; from app.surprise.page import page; window.dress('', ''); page()"


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    return rooms.model_room().open().result().model


@pytest.fixture(scope="module")
def clip():
    return load_clip(ClipAddress(), DEMO)


def middle():
    mask = np.zeros(GRID, bool)
    mask[:, 2:5, 2:5] = True
    return mask


def test_the_future_s_errors_are_the_library_s(model, clip):
    found = clip_features.future_errors(clip.id, clip)
    expected = surprise(model, normalize(clip.frames)[None])[0].cpu().numpy()
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.scale == pytest.approx(2 * next(iter(answers.shipped().values())).typical[0])


def test_the_mask_s_errors_are_those_of_the_first_page(model, clip):
    mask = middle()
    found = clip_features.masked_errors(clip.id, figures.to_link(mask), clip, mask).values
    work = lambda explorer: explorer.predict(mask, seeds=[0], steps=1).error  # noqa: E731
    np.testing.assert_allclose(found, rooms.ask(clip, work), atol=1e-5)
    assert (np.isnan(found) == ~mask).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [False, True])
def test_the_clips_of_a_pair_share_their_second_half_and_no_id(kind, hidden):
    scene = impossible.draw_scene(kind, hidden, 3)
    first = scene.splice * DEMO.config.tubelet_size
    for possible, impossible_ in scene.pairs:
        np.testing.assert_array_equal(possible.frames[first:], impossible_.frames[first:])
        assert (possible.frames[:first] != impossible_.frames[:first]).any()
        assert (possible.title, impossible_.title) == ("possible", "impossible")
    assert len({clip.id for pair in scene.pairs for clip in pair}) == 4


def test_every_kind_of_violation_is_told():
    assert set(impossible.KINDS) == set(KINDS)


@pytest.mark.parametrize(("change", "said"), [(0.01, "more, as they should"), (-0.01, "no more")])
def test_the_verdict_weighs_the_set_and_not_its_pairs(change, said):
    found = np.full((2, 2, 8), 0.3)
    found[0, 1] += 0.1 + change  # one pair for, one against
    found[1, 1] -= 0.1
    found[:, :, 0] = np.nan
    assert said in impossible.verdict(found)


def test_curves_keep_the_numbers_and_mark_the_splice():
    line = np.array([np.nan, 0.2, 0.4])
    figure = curves({"a": line, "b": line + 1}, splice=1)
    np.testing.assert_array_equal(figure.data[0].y, line)
    assert list(figure.data[1].x) == [1, 2, 3]
    assert figure.layout.shapes[0].x0 == 1.5


@pytest.mark.parametrize(
    ("file", "kinds", "least"),
    [(impossible.DRAWN, 2 * len(KINDS), 200), (impossible.PHYSICS, 10, 20)],
)
def test_the_committed_scores_are_complete_and_drawn_with_their_intervals(file, kinds, least):
    table = impossible.committed(file)
    cases = {(case["kind"].replace("_", " "), case["hidden"]): case for case in table["cases"]}
    assert len(cases) == kinds
    assert all(case["scenes"] >= least for case in cases.values())
    bars = accuracies(table["cases"], "behind a post").data
    assert len(bars) == 4
    for bar, hidden in zip(bars, (False, False, True, True), strict=True):
        for kind, mean, up, down in zip(
            bar.x, bar.y, bar.error_y.array, bar.error_y.arrayminus, strict=True
        ):
            source = "model" if bar.name == "V-JEPA" else "pixels"
            score = cases[kind, hidden][source]["sets"]
            assert [mean, mean - down, mean + up] == pytest.approx([score["mean"], *score["ci95"]])


def test_the_page_changes_scenes_and_survives_an_empty_mask(model):
    page = AppTest.from_string(PAGE, default_timeout=120).run()
    assert not page.exception

    def said():
        return next(m.value for m in page.markdown if m.value.startswith("Together"))

    first = said()
    page.segmented_control(key="violation").set_value("teleport").run()
    assert said() != first
    page.toggle(key="behind_post").set_value(False).run()
    assert "as they should" in said()  # in plain view, in this scene
    page.button(key="another_scene").click().run()
    assert not page.exception
    state = page.session_state["visitor"]
    bits = figures.to_bits(np.zeros(GRID, bool))
    page.session_state["painter"] = {
        "mask": {"clip": state.address.id, "rev": state.rev, "bits": bits}
    }
    page.run()
    assert not page.exception
    assert "The mask is empty" in page.warning[0].value
