"""Another model in a browser: chosen by its path, painted on, answered without a decoder."""

import numpy as np
import pytest
from browser import grid, mask, paint, panel, serving, show, wait_for_answer

CHANGING = ("nearest", "pca-predicted", "pca-true", "error", "distance")


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("VJEPA_MODELS", str(tmp_path / "models"))
    with serving(tmp_path / "log.txt") as address:
        yield address


def open_model(page, path):
    """Types a path into the menu of models."""
    page.get_by_test_id("stPopover").filter(has_text="physics").get_by_role("button").click()
    page.get_by_role("textbox", name="or a file or folder").fill(str(path))
    page.get_by_test_id("stForm").get_by_text("Open", exact=True).click()


def test_a_model_is_chosen_by_path_and_answers_strokes(page, golden):
    before = mask(page)
    open_model(page, golden / "vjepa1-a" / "probe.pth.tar")
    page.get_by_text("is not a V-JEPA checkpoint").wait_for()
    assert (mask(page) == before).all()

    page.keyboard.press("Escape")
    open_model(page, golden / "vjepa1-a" / "checkpoint.pth.tar")
    page.wait_for_function("() => vjepaStage.clip?.id.includes('~')")
    page.keyboard.press("Escape")
    assert grid(page) == (4, 4, 4)
    page.get_by_text("decoder train --model").wait_for()
    page.wait_for_selector('[data-panel="nearest"][data-content="here"]')  # its bank is made
    page.get_by_text("Neighbours from").wait_for()
    assert "model=" in page.url

    show(page, 0)
    wait_for_answer(page)
    page.locator('[data-act="clear"]').click()
    shown = {name: panel(page, name) for name in CHANGING}
    paint(page, (1, 1), (2, 2))
    page.wait_for_function("word => document.body.innerText.includes(word)", arg="predicted")
    wait_for_answer(page)
    hidden = mask(page)[0].repeat(16, 0).repeat(16, 1)
    assert hidden.any() and not hidden.all()
    original = panel(page, "original")
    for name in CHANGING:
        drawn = panel(page, name)
        assert (drawn != shown[name]).any()
        assert (drawn[hidden, 3] == 255).all()
    np.testing.assert_array_equal(panel(page, "nearest")[~hidden], original[~hidden])
