"""Settings of all pages are kept: from page to page, and in the link; and the gallery's links."""

import pytest
from streamlit.testing.v1 import AppTest

from app import gallery
from app.workbench import links, rooms, session
from app.workbench.models import DEMO
from vjepa.errors import InputError

DEPTH = DEMO.config.depth
SCRIPT = "from app import window; from app.{name} import page; window.dress('', ''); page()"
KEPT = {
    "embeddings.page": {
        "layer": (f"embeddings_layer_{DEPTH}", "segmented_control", 2),
        "fit": ("embeddings_fit", "segmented_control", "all clips"),
        "axes": ("embeddings_axes", "segmented_control", "3D"),
        "colour": ("embeddings_colour", "selectbox", "time"),
    },
    "similarity": {
        "layer": (f"similarity_layer_{DEPTH}", "segmented_control", 2),
        "centred": ("similarity_centred", "toggle", False),
    },
    "surprise.page": {
        "happens": ("violation", "segmented_control", "teleport"),
        "post": ("behind_post", "toggle", False),
    },
    "probes.page": {
        "probe": ("probe_task_event", "segmented_control", "motion"),
        "probed": ("probe_world", "segmented_control", "drawn world"),
    },
    "evaluation.page": {"cases": ("case_ranking", "segmented_control", "gain")},
}


@pytest.fixture(scope="module", autouse=True)
def model():
    rooms.model_room().open().result()


@pytest.mark.parametrize("name", KEPT)
def test_a_page_s_settings_go_into_the_link_and_come_back(name):
    page = AppTest.from_string(SCRIPT.format(name=name), default_timeout=120).run()
    for key, widget, value in KEPT[name].values():
        getattr(page, widget)(key=key).set_value(value).run()
    assert not page.exception
    query = links.to_query(page.session_state["visitor"])
    expected = {setting: str(value) for setting, (_, _, value) in KEPT[name].items()}
    assert expected.items() <= query.items()
    other = AppTest.from_string(SCRIPT.format(name=name), default_timeout=120)
    other.query_params.update(query)
    other.run()
    assert not other.exception and not other.warning
    for key, widget, value in KEPT[name].values():
        assert getattr(other, widget)(key=key).value == value


def test_settings_at_their_default_make_no_link_longer():
    assert not set(links.to_query(session.start_state())) & set(links.SETTINGS)


def test_a_setting_that_means_nothing_gets_a_sentence_and_the_default():
    page = AppTest.from_string(SCRIPT.format(name="similarity"), default_timeout=120)
    page.query_params["layer"] = "99"
    page.run()
    assert page.warning[0].value.startswith("layer cannot be")
    assert page.segmented_control(key=f"similarity_layer_{DEPTH}").value == DEPTH


@pytest.mark.parametrize("view", gallery.curated(), ids=lambda view: view.title)
def test_a_curated_view_opens_as_it_says(view):
    state = session.start_state()
    links.read_query(view.query, state)  # an InputError where it means nothing
    assert {"mask", "clip"} <= set(view.query)
    assert view.query.items() <= (links.to_query(state) | {"steps": str(state.steps)}).items()
    module = {"similarity": "similarity"}.get(view.page, f"{view.page.replace('-', '_')}.page")
    page = AppTest.from_string(SCRIPT.format(name=module), default_timeout=120)
    page.query_params.update(view.query)
    page.run()
    assert not page.exception and not page.warning


def test_the_gallery_shows_every_view():
    page = AppTest.from_string(SCRIPT.format(name="gallery"), default_timeout=60).run()
    assert not page.exception
    for view in gallery.curated():
        assert gallery.picture(view.link, view)[:2] == b"\xff\xd8"


def test_a_view_of_a_clip_that_is_gone_is_told():
    state = session.start_state()
    with pytest.raises(InputError):
        links.read_query({"clip": "bundled-gone"}, state)
