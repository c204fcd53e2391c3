"""The decoder's steps, for who opens them: from noise to the sample that the page shows."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers, rows
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.figures import read_sheet
from app.workbench.models import DEMO
from app.workbench.rooms import model_room

GRID = DEMO.config.grid


@pytest.fixture(scope="module")
def question():
    mask = np.zeros(GRID, bool)
    mask[:, 2:5, 2:5] = True
    return answers.ask(load_clip(ClipAddress(), DEMO), mask, (3, 4), 4)


def test_it_begins_with_noise_and_ends_with_the_sample(question):
    clip = load_clip(ClipAddress(), DEMO)
    panels = {panel.name: panel for panel in rows.denoising_of(question, clip)}
    assert list(panels) == [f"{kind}-{i}" for i in range(4) for kind in ("given", "guess")]
    films = {name: read_sheet(panel.data, 16).astype(int) for name, panel in panels.items()}
    hidden = answers.hidden_pixels(answers.asked_mask(question), clip.frames.shape)[..., 0]
    rough = [np.abs(np.diff(films[f"given-{i}"][hidden], axis=0)).mean() for i in range(4)]
    assert rough == sorted(rough, reverse=True)  # less noise with every step
    assert [panels[f"given-{i}"].side for i in range(4)] == ["100%", "75%", "50%", "25%"]

    answer = answers.answer_for(question, clip)
    sample = answers.pasted(answer.samples[0], answer.mask, clip)
    assert np.abs(films["guess-3"][hidden] - sample[hidden]).mean() < 3  # JPEG alone
    assert panels["guess-3"].side == answer.likeness("sample 1")


def test_many_steps_are_shown_in_few_panels(question):
    from dataclasses import replace

    shown = rows.denoising_of(replace(question, steps=32), load_clip(ClipAddress(), DEMO))
    assert len(shown) == 2 * rows.STEPS_SHOWN
    assert shown[0].name == "given-0"
    assert shown[-1].name == "guess-31"


def test_nothing_is_drawn_before_it_is_opened(question, monkeypatch):
    asked = []
    monkeypatch.setattr(rows, "denoising_of", lambda *given: asked.append(given) or ())
    model_room(DEMO).open().result()

    def script():
        from app.mask_and_decode import page

        page.page()

    page = AppTest.from_function(script, default_timeout=120).run()
    assert not asked
    page.session_state["visitor"].settings["denoising"] = "open"
    page.run()
    assert asked
