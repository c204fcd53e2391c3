"""Clips of the drawn world in the app: their names, and scenes that are asked for."""

import pytest
from streamlit.testing.v1 import AppTest

from app.workbench import clip
from app.workbench.clip import ClipAddress, find_world, is_world, load_clip, world_name, world_scene
from app.workbench.models import DEMO
from vjepa.world.world import CATEGORIES, LEVELS, MOTIONS

PAGE = "from app import window; from app.probes.page import page; window.dress('', ''); page()"


def test_the_app_knows_as_many_levels_as_the_world():
    assert len(LEVELS) == clip.WORLD_LEVELS


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_name_brings_back_its_scene(level):
    name = world_name(level, 77)
    assert is_world(name)
    assert world_scene(name) == (level, 77)


def test_old_names_are_of_the_hardest_level():
    assert world_scene("77") == (len(LEVELS) - 1, 77)


@pytest.mark.parametrize("name", ["5.1", ".1", "1.", "-1.1", "1.1.1", "1.100000", "٣.1", "01.1"])
def test_other_names_are_none(name):
    assert not is_world(name)


def test_the_scene_shows_what_was_asked_for():
    address = find_world(0, "bird", "bounce")
    assert load_clip(address, DEMO).labels == {"appearance": "bird", "motion": "bounce"}
    assert world_scene(address.name)[0] == 0
    assert load_clip(find_world(2, None, "still"), DEMO).labels["motion"] == "still"


def test_levels_show_the_same_scene():
    easy, hard = (
        load_clip(ClipAddress("world", world_name(level, 5)), DEMO).labels for level in (0, 4)
    )
    assert easy == hard
    assert easy["appearance"] in CATEGORIES
    assert easy["motion"] in MOTIONS


def test_the_menu_draws_what_it_says():
    page = AppTest.from_string(PAGE, default_timeout=120)
    page.query_params["clip"] = "world-7"
    page.run()
    page.selectbox(key="world_level").set_value(1)
    page.selectbox(key="world_thing").set_value("tool")
    next(button for button in page.button if button.label == "Draw").click().run()
    assert not page.exception
    address = page.session_state["visitor"].address
    assert world_scene(address.name)[0] == 1
    assert load_clip(address, DEMO).labels["appearance"] == "tool"
