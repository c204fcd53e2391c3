"""The similarity page: what a selection means, and what the views show of it."""

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app import similarity
from app.workbench import rooms
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.clip_features import layers_of
from app.workbench.models import DEMO
from vjepa.analysis.following import coverage

GRID = DEMO.config.grid
PAGE = "from app import similarity, window; window.dress('', ''); similarity.page()"


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture(scope="module")
def world():
    return load_clip(ClipAddress("world", "7"), DEMO)


def token(step, row, column):
    return int(np.ravel_multi_index((step, row, column), GRID))


def text(page):
    assert not page.exception
    return next(m.value for m in page.markdown if "time step" in m.value)


def pick(page, *tokens):
    """Runs the page as after a click or a drag on a view."""
    clip = page.session_state["visitor"].address.id
    page.session_state["views"] = {"pick": {"clip": clip, "id": str(tokens), "tokens": [*tokens]}}
    return page.run()


def test_without_a_selection_the_middle_patch_is_compared():
    choice = similarity.choose(frozenset(), GRID)
    assert choice.token == token(*(size // 2 for size in GRID))
    assert choice.tokens.sum() == 1


def test_a_drag_is_an_object_and_its_most_central_patch_is_followed():
    block = [token(2, row, column) for row in (1, 2, 3) for column in (2, 3, 4)]
    choice = similarity.choose(frozenset([*block, token(5, 0, 0)]), GRID)
    assert (choice.step, choice.token) == (2, token(2, 2, 3))
    assert set(np.flatnonzero(choice.tokens)) == {t - token(2, 0, 0) for t in block}


def test_the_world_knows_its_actor_and_starts_with_it(world):
    truth = similarity.actor_tokens(world)
    share = coverage(torch.from_numpy(world.actor), DEMO.config).numpy()
    assert (share[truth] > 0.5).all() and truth.any()
    choice = similarity.choose(frozenset(), GRID, truth)
    assert (truth[choice.step] == choice.tokens).all()
    assert similarity.actor_tokens(load_clip(ClipAddress(), DEMO)) is None


def test_what_is_found_starts_from_the_choice(model, world):
    choice = similarity.choose(frozenset([token(3, 2, 2), token(3, 2, 3)]), GRID)
    features = layers_of(world)[-1]
    found = similarity.follow(features, choice, GRID, centred=True)
    assert found.cosine.flat[choice.token] == pytest.approx(1, abs=1e-5)
    assert found.cosine.max() <= 1 + 1e-5
    assert choice.token in found.track and len(found.track) == GRID[0]
    assert (found.labels[3] == choice.tokens).all()


def test_centring_and_the_layer_matter(model, world):
    choice = similarity.choose(frozenset(), GRID)
    layers = layers_of(world)
    ways = [
        similarity.follow(features, choice, GRID, centred).cosine
        for features, centred in ((layers[-1], True), (layers[-1], False), (layers[0], True))
    ]
    assert ways[1].mean() > ways[0].mean() + 0.1  # what all tokens share makes them alike
    assert np.abs(ways[0] - ways[2]).mean() > 0.02


def test_the_object_s_view_shows_the_clip_where_the_object_is_not(model, world):
    truth = similarity.actor_tokens(world)
    choice = similarity.choose(frozenset(), GRID, truth)
    found = similarity.follow(layers_of(world)[-1], choice, GRID, True)
    view = similarity.object_view(found, truth)
    assert np.isnan(view.values[found.labels == 0]).all()
    assert (view.values[choice.step][choice.tokens] == 1).all()
    assert view.outline == frozenset(np.flatnonzero(truth))
    assert similarity.overlap(found, truth, choice.step) > 0.2
    assert similarity.object_view(found, None).outline == frozenset()


def test_a_click_is_answered_and_only_the_world_is_scored(model):
    page = AppTest.from_string(PAGE, default_timeout=120).run()
    assert "Click a patch" in text(page)
    assert "J **" not in text(page)
    pick(page, token(1, 3, 3), token(1, 3, 4))
    assert text(page) == "**2** patches of time step 2"
    page.session_state["visitor"].choose(ClipAddress("world", "7"))
    page.session_state["visitor"].select([])
    page.run()
    assert "J **" in text(page)
    pick(page, token(4, 0, 0))
    assert "select the outlined actor" in text(page)


def test_every_setting_works(model):
    page = AppTest.from_string(PAGE, default_timeout=120).run()
    page.segmented_control(key=f"similarity_layer_{DEMO.config.depth}").set_value(1).run()
    assert not page.exception
    page.toggle(key="similarity_centred").set_value(False).run()
    assert not page.exception
