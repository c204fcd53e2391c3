"""Links: what they restore, what they say that is wrong, and that nothing in them does harm."""

from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
from scripted import GRID, block, main_page, numbers, paint

from app.workbench import figures, links, rooms, session
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO
from vjepa.errors import InputError


@pytest.fixture(scope="module")
def model():
    """The demo model, loaded once for all pages of this process."""
    rooms.model_room().open().result()


@pytest.fixture
def page():
    return main_page()


def test_link_restores_the_page(page, model):
    page.run()
    mask = block(slice(1, 3))
    paint(page, mask)
    page.button(key="reroll").click().run()
    shown = parse_qs(urlsplit(page.code[0].value).query)
    other = main_page()
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


def test_starts_that_differ_little_are_other_clips():
    one, other = ClipAddress(start=1.0000001), ClipAddress(start=1.0000002)
    assert one.id != other.id
    state, copy = session.start_state(), session.start_state()
    state.address = one
    links.read_query(links.to_query(state), copy)
    assert copy.address == one


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
