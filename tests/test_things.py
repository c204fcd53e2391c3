"""The thing under a click, and work that nobody waits for any more."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers
from app.workbench import rooms, things
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO

ROOT = Path(__file__).parents[1]
GRID = DEMO.config.grid


@pytest.fixture(scope="module")
def explorer():
    return rooms.model_room().open().result()


def test_only_what_hangs_together_is_one_thing():
    cells = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    assert things.connected(cells, (0, 1)).tolist() == [[1, 1, 0, 0], [0] * 4, [0] * 4]
    assert things.connected(cells, (2, 2)).sum() == 1  # the click itself


def test_the_world_knows_its_actor(explorer):
    clip = load_clip(ClipAddress("world", "7"), DEMO)
    actor = things.actor_tokens(clip)
    token = int(np.flatnonzero(actor)[0])
    np.testing.assert_array_equal(things.thing_at(clip, token), actor)


def test_a_thing_is_carried_through_a_real_clip(explorer):
    clip = load_clip(ClipAddress(), DEMO)
    token = int(np.ravel_multi_index((3, 3, 4), GRID))  # on the cup
    found = things.thing_at(clip, token)
    assert found.flat[token]
    assert found.any(axis=(1, 2)).all()
    assert found.mean() < 0.6
    corner = things.thing_at(clip, int(np.ravel_multi_index((3, 0, 0), GRID)))
    assert not (found & corner)[3].any()  # the wall is another thing


def test_a_clicked_thing_is_hidden_once(explorer):
    page = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)
    page.query_params["clip"] = "world-7"
    page.run()
    state, clip = page.session_state["visitor"], load_clip(ClipAddress("world", "7"), DEMO)
    before, actor = state.mask.copy(), things.actor_tokens(clip)
    thing = {"clip": clip.id, "id": "1", "token": int(np.flatnonzero(actor)[0])}
    page.session_state["painter"] = {"thing": thing}
    page.run()
    assert not page.exception
    assert (state.mask == (before | actor)).all()
    state.send_mask(before)
    page.session_state["painter"] = {"thing": thing}
    page.run()
    assert (state.mask == before).all()


def test_decoding_ends_between_two_steps_where_nobody_waits(explorer, monkeypatch):
    clip = load_clip(ClipAddress(), DEMO)
    mask = np.zeros(GRID, bool)
    mask[2:, 0] = True
    steps = []
    predict = type(explorer).predict

    def counted(self, *args, callback, **named):
        return predict(
            self, *args, callback=lambda i, *x: (steps.append(i), callback(i, *x)), **named
        )

    monkeypatch.setattr(type(explorer), "predict", counted)

    def stop():
        raise InterruptedError

    monkeypatch.setattr(answers, "overtaken", lambda: lambda: True)
    monkeypatch.setattr(answers.st, "stop", stop)
    with pytest.raises(InterruptedError):
        answers.fresh_answer(answers.ask(clip, mask, (0,), 8), clip)
    assert steps == [0]
    assert answers.fresh_answer(answers.ask(clip, mask, (0,), 1), clip).samples  # one step is done
