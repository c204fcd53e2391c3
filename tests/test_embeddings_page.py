"""The embeddings page: maps and points say the same, and a choice in one is a choice in both."""

import io
import json
import math

import av
import cv2
import numpy as np
import pytest
from browser import PATIENCE, drag, serving, show
from streamlit.testing.v1 import AppTest

from app.embeddings import archive, maps
from app.embeddings import page as embeddings
from app.embeddings.scatter import Predicted, scatter, tokens_of
from app.workbench import figures, rooms, session
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.components import View
from app.workbench.models import DEMO

PAGE = "from app import window; from app.embeddings.page import page; window.dress('', ''); page()"
GRID = DEMO.config.grid
LAST = DEMO.config.depth - 1
LOOK = maps.Look(LAST, False, "PCA", 2, "components", False)


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture
def page(model):
    return AppTest.from_string(PAGE, default_timeout=60).run()


@pytest.fixture
def clip():
    return load_clip(ClipAddress(), DEMO)


def figure(page: AppTest) -> dict:
    return json.loads(page.get("plotly_chart")[0].proto.spec)


def explained(page: AppTest) -> str:
    return next(m.value for m in page.markdown if "of the variance" in m.value)


def pick(page: AppTest, tokens: list[int]) -> AppTest:
    """Runs the page as after a click on patches in the browser."""
    chosen = {"clip": page.session_state["visitor"].address.id, "id": str(tokens), "tokens": tokens}
    page.session_state["views"] = {"pick": chosen}
    return page.run()


def paint(page: AppTest, mask: np.ndarray) -> AppTest:
    """Runs the page as after a stroke in the browser."""
    state = page.session_state["visitor"]
    stroke = {"clip": state.address.id, "rev": state.rev, "bits": figures.to_bits(mask)}
    page.session_state["painter"] = {"mask": stroke}
    return page.run()


# ---- maps and points


def test_the_page_needs_no_click(page, clip):
    assert not page.exception
    held = maps.components_of(clip, LAST, joint=False).explained.sum()
    assert f"**{held:.0%}**" in explained(page)
    (points,) = figure(page)["data"]
    assert points["customdata"] == list(range(math.prod(GRID)))


def test_points_have_the_colours_of_the_map(page, clip):
    colours = maps.component_colours(clip, LOOK).colours.reshape(-1, 3)
    shown = figure(page)["data"][0]["marker"]["color"]
    assert shown == [f"rgb({r},{g},{b})" for r, g, b in colours]


def test_a_layer_has_components_of_its_own(page, model, clip):
    first, last = (maps.components_of(clip, layer, joint=False) for layer in (0, LAST))
    assert not np.allclose(first.axes, last.axes, atol=1e-3)
    assert f"{last.explained.sum():.0%}" in explained(page)
    page.segmented_control(key=f"embeddings_layer_{DEMO.config.depth}").set_value(1).run()
    assert f"{first.explained.sum():.0%}" in explained(page)
    assert page.toggle(key="embeddings_predictions").disabled


def test_joint_components_are_the_same_in_every_clip(model, clip):
    other = load_clip(ClipAddress("bundled", "cockatoo"), DEMO)
    apart = [maps.components_of(each, LAST, joint=False).axes for each in (clip, other)]
    joint = [maps.components_of(each, LAST, joint=True).axes for each in (clip, other)]
    assert np.array_equal(*joint)
    assert not np.allclose(*apart, atol=0.1)


def test_predictions_lie_where_the_targets_axes_put_them(page, clip):
    page.toggle(key="embeddings_predictions").set_value(True).run()
    mask = page.session_state["visitor"].mask
    lines, _, predicted = figure(page)["data"]
    assert predicted["customdata"] == np.flatnonzero(mask).tolist()
    assert lines["mode"] == "lines"
    found = maps.components_of(clip, LAST, joint=False)
    seen = rooms.ask(clip, lambda explorer: explorer.features(mask).predictions.numpy())
    expected = found.scores(seen[:, DEMO.config.last_layer])[:, :2]
    _, points = maps.predictions_of(clip.id, figures.to_link(mask), clip, mask)
    np.testing.assert_allclose(found.scores(points)[:, :2], expected)


def test_lines_are_as_long_as_the_prediction_is_wrong():
    rng = np.random.default_rng(0)
    points, tokens = rng.normal(size=(8, 2)), np.array([1, 6])
    predicted = Predicted(points[tokens] + [[3, 4], [0, 2]], tokens)
    view = View("v", "v", "", colours=np.zeros((2, 2, 2, 3), np.uint8))
    line = scatter(points, view, ("a", "b"), predicted).data[0]
    path = np.column_stack([line.x, line.y])
    assert np.linalg.norm(path[1::3] - path[::3], axis=1) == pytest.approx([5, 2])
    assert np.isnan(path[2::3]).all()


def test_tokens_without_a_value_are_grey_and_still_theirs():
    values = np.arange(8.0).reshape(2, 2, 2)
    values[0] = np.nan
    traces = scatter(np.zeros((8, 2)), View("v", "v", "", values, 0, 7), ("a", "b")).data
    assert [list(trace.customdata) for trace in traces] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert list(traces[1].marker.color) == [4, 5, 6, 7]


@pytest.mark.parametrize("colour", maps.COLOURS)
@pytest.mark.parametrize("dims", ["2D", "3D"])
def test_every_colour_is_drawn(page, colour, dims):
    page.selectbox(key="embeddings_colour").set_value(colour).run()
    page.segmented_control(key="embeddings_axes").set_value(dims).run()
    assert not page.exception
    assert not page.warning
    traces = [trace for trace in figure(page)["data"] if trace["mode"] == "markers"]
    drawn = [token for trace in traces for token in trace["customdata"]]
    assert sorted(drawn) == list(range(math.prod(GRID)))


def test_neighbourhoods_are_maps_of_the_same_tokens(page):
    page.segmented_control(key="embeddings_points").set_value("t-SNE").run()
    assert not page.exception
    assert page.toggle(key="embeddings_predictions").disabled
    assert len(figure(page)["data"][0]["customdata"]) == math.prod(GRID)


@pytest.mark.parametrize(("fill", "sentence"), [(False, "The mask is empty"), (True, "whole clip")])
def test_a_mask_without_predictions_gets_a_sentence_and_leaves_the_rest(page, fill, sentence):
    page.selectbox(key="embeddings_colour").set_value("error").run()
    paint(page, np.full(GRID, fill))
    assert any(sentence in m.value for m in page.markdown)
    assert not page.exception
    assert "of the variance" in explained(page)
    page.selectbox(key="embeddings_colour").set_value("components").run()
    assert not any(sentence in m.value for m in page.markdown)


# ---- the selection


def test_picked_patches_light_their_points_and_nothing_else(page):
    tokens = [3, 60, 200]
    (points,) = figure(pick(page, tokens))["data"]
    chosen = points["selectedpoints"]
    assert [points["customdata"][i] for i in chosen] == tokens
    assert any("**3** tokens selected" in m.value for m in page.markdown)
    page.button(key="deselect").click().run()
    assert "selectedpoints" not in figure(page)["data"][0]


def test_in_space_rings_stand_around_the_picked(page):
    page.segmented_control(key="embeddings_axes").set_value("3D").run()
    count = len(figure(page)["data"])
    assert len(figure(pick(page, [3, 60]))["data"]) == count + 1


def test_a_rerun_draws_the_same_figure(page):
    pick(page, [3, 60])
    before = figure(page)
    assert figure(page.run()) == before


def test_chart_and_patches_take_turns():
    """What the chart still reports from before must not undo a later choice of patches."""
    state, link = session.start_state(), embeddings.Link()
    circled, picked = frozenset({1, 2}), frozenset({7})
    link.follow(("figure",), state.selection)

    link.take(circled, state)
    drawn = link.revision
    link.follow(("figure",), state.selection)
    assert state.selection == circled
    assert link.revision == drawn  # the chart shows it: a new figure would only flicker

    link.take(circled, state)  # a rerun for another reason
    state.select(picked)
    link.follow(("figure",), state.selection)
    assert (link.lit, link.revision) == (picked, drawn + 1)

    link.take(frozenset(), state)  # the new figure's chart has nothing circled
    assert state.selection == picked
    link.take(circled, state)
    link.take(frozenset(), state)  # and now it was undone in the chart
    assert state.selection == frozenset()


def test_another_figure_keeps_the_circled_tokens():
    state, link = session.start_state(), embeddings.Link()
    link.follow(("by colour",), state.selection)
    link.take(frozenset({1, 2}), state)
    link.follow(("by time",), state.selection)
    assert link.lit == {1, 2}
    link.take(frozenset(), state)
    assert state.selection == {1, 2}


@pytest.mark.parametrize("others", [frozenset(), frozenset({7})])
def test_a_visit_to_another_page_keeps_the_circled_tokens(others):
    """The chart is made anew without them, and must not be taken to have lost them."""
    state, link = session.start_state(), embeddings.Link()
    link.follow(("figure",), state.selection)
    link.take(frozenset({1, 2}), state)
    if others:
        state.select(others)  # over there
    selection = state.selection
    link.take(None, state)
    link.follow(("figure",), state.selection)
    assert link.lit == selection
    link.take(frozenset(), state)
    assert state.selection == selection


def test_a_token_and_its_prediction_are_one_choice():
    points = [{"customdata": 5}, {"customdata": 5}, {"customdata": 9}]
    assert tokens_of({"selection": {"points": points}}) == {5, 9}
    assert tokens_of({"selection": {"points": []}}) == frozenset()


# ---- to take along


@pytest.fixture
def shown(model, clip):
    found = maps.components_of(clip, LAST, joint=False)
    features = maps.features_of(clip, LAST)
    colours = maps.component_colours(clip, LOOK)
    return [colours, *maps.component_views(found, features, GRID)]


def test_the_sheet_shows_every_map_at_every_step(shown):
    sheet = cv2.imdecode(np.frombuffer(archive.sheet(shown), np.uint8), 1)[..., ::-1]
    t, h, w = GRID
    cells = sheet.reshape(len(shown), sheet.shape[0] // len(shown), t, sheet.shape[1] // t, 3)
    patch, edge = archive.PATCH, archive.GAP + archive.PATCH // 2
    places = np.ix_(range(len(shown)), edge + patch * np.arange(h), range(t))
    for column in range(w):
        middle = cells[(*places, edge + patch * column)]
        for view, picture in zip(shown, middle, strict=True):
            expected = archive.colours_of(view)[:, :, column].swapaxes(0, 1)
            assert (picture == expected).all()


def test_the_movie_lasts_as_long_as_the_clip(shown, clip):
    with av.open(io.BytesIO(archive.movie(shown[0], clip))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(clip.frames)
    half = archive.PATCH // 2
    centres = np.stack(frames)[:, half :: 2 * half, half :: 2 * half]
    expected = shown[0].colours.repeat(len(frames) // GRID[0], axis=0)
    assert np.abs(centres.astype(int) - expected).mean() < 6  # what H.264 loses


def test_the_archive_can_be_computed_with(model, clip):
    mask = np.zeros(GRID, bool)
    mask[:, 2:5, 2:5] = True
    found, features = maps.components_of(clip, LAST, joint=False), maps.features_of(clip, LAST)
    numbers = archive.Numbers(clip, mask, features, found)
    stored = np.load(io.BytesIO(numbers.archive()))
    centred = stored["features"] - stored["mean"]
    np.testing.assert_allclose(stored["scores"], centred @ stored["axes"].T)
    assert (np.isnan(stored["error"]) == ~stored["mask"]).all()
    assert (np.ravel_multi_index(stored["positions"].T, GRID) == np.arange(len(features))).all()
    empty = archive.Numbers(clip, np.zeros(GRID, bool), features, found)
    assert np.isnan(np.load(io.BytesIO(empty.archive()))["error"]).all()


# ---- in a browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("app") / "log.txt") as address:
        yield address


def selected(page) -> list[int]:
    return sorted(page.evaluate("[...vjepaStage.selected]"))


def lit(page) -> list[int]:
    """Tokens whose points stand out in the chart."""
    return page.evaluate(
        """() => { const [points] = document.querySelector('.js-plotly-plot')._fullData;
        return [...(points.selectedpoints ?? [])].map((i) => points.customdata[i]); }"""
    )


def test_points_and_patches_light_each_other(browser, address):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/embeddings")
    page.wait_for_selector(".js-plotly-plot .nsewdrag")
    show(page, 5)

    drag(page, ".js-plotly-plot .nsewdrag", (0.02, 0.3), (0.3, 0.7))
    page.wait_for_function("() => vjepaStage.selected.size > 1")
    circled = selected(page)
    assert lit(page) == circled
    page.wait_for_timeout(1000)  # and no answer of the server undoes it
    assert selected(page) == lit(page) == circled

    drag(page, '[data-view="colours"] .ink', (0.5, 0.5), (0.8, 0.5))
    page.wait_for_function("() => vjepaStage.selected.size > 1 && vjepaStage.selected.size < 5")
    picked = selected(page)
    t, h, w = GRID
    step = 5 * t // DEMO.config.num_frames
    assert picked == [(step * h + h // 2) * w + column for column in range(3, 6)]
    page.wait_for_function(f"""() => document.querySelector('.js-plotly-plot')
        ?._fullData[0].selectedpoints?.length === {len(picked)}""")
    assert lit(page) == picked
    page.wait_for_timeout(1000)
    assert selected(page) == lit(page) == picked
    page.close()
