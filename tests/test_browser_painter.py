"""The painter's tools in a browser: sizes, lasso, a click on a thing; keys of the row of clips."""

import numpy as np
import pytest
from browser import drag, grid, mask, paint, show, wait_for_answer


@pytest.fixture
def page(page):
    page.locator('[data-act="clear"]').click()
    return page


def block(page, rows, columns):
    hidden = np.zeros(grid(page), bool)
    hidden[:, rows, columns] = True
    return hidden


def test_brush_and_eraser_have_sizes(page):
    page.locator(".painter .ink").focus()
    page.keyboard.press("]")
    page.keyboard.press("]")
    paint(page, (2, 2), (2, 2))
    assert (mask(page) == block(page, slice(1, 4), slice(1, 4))).all()
    page.locator('[data-act="size"]').click()  # from the largest to the smallest
    page.keyboard.press("e")
    paint(page, (2, 2), (2, 2))
    assert not mask(page)[:, 2, 2].any()
    assert mask(page).sum() == 8 * grid(page)[0]


def test_the_lasso_hides_what_it_goes_around(page):
    page.keyboard.press("l")
    t, h, w = grid(page)
    corners = [(1.2, 1.2), (1.2, 4.8), (4.8, 4.8), (4.8, 1.2)]
    drag(page, ".painter .ink", *((x / w, y / h) for y, x in corners))
    assert (mask(page) == block(page, slice(1, 5), slice(1, 5))).all()


def test_a_click_on_a_thing_hides_it_in_every_step(page):
    show(page, 6)
    page.locator(".painter .ink").focus()
    page.keyboard.press("t")
    paint(page, (3, 4), (3, 4))
    page.wait_for_function("() => vjepaStage.mask.some(Boolean)")
    wait_for_answer(page)
    hidden = mask(page)
    assert hidden[3, 3, 4] and hidden.any(axis=(1, 2)).all()


def test_arrows_go_along_the_row_of_clips(page):
    page.locator('[data-clip="cup_tilt_zoom"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("() => vjepaStage.clip.id === 'bundled-bigbuckbunny'")
    page.wait_for_selector('[data-clip="bigbuckbunny"][aria-checked="true"]')
    assert page.locator('[data-clip="bigbuckbunny"]').get_attribute("tabindex") == "0"


def test_the_strip_shows_how_much_of_each_step_is_hidden(page):
    t, h, w = grid(page)
    drag(page, ".strip", (2.5 / t, 0.5), (3.5 / t, 0.5))
    paint(page, (0, 0), (0, w - 1))
    shares = page.locator(".step i").evaluate_all(
        "bars => bars.map((bar) => parseFloat(bar.style.height))"
    )
    assert shares == pytest.approx(
        [100 / h if step in (2, 3) else 0 for step in range(t)], abs=0.01
    )


def test_the_painter_is_played_by_keys_alone(page):
    page.locator(".tour").focus()
    page.keyboard.press("Tab")  # to the clip: there is a cursor in its middle
    for key in ("Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    cell = block(page, 5, 4)
    assert (mask(page) == cell).all()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("z")
    assert (mask(page) == cell).all()
    playing = page.evaluate("vjepaStage.playing")
    page.keyboard.press(" ")
    assert page.evaluate("vjepaStage.playing") != playing
    show(page, 4)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("vjepaStage.frame") == 5


def test_keys_choose_the_time_steps_that_strokes_go_to(page):
    page.locator(".strip").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")  # a box over time
    paint(page, (1, 1), (2, 3))
    hidden = np.zeros(grid(page), bool)
    hidden[1:6, 1:3, 1:4] = True
    assert (mask(page) == hidden).all()


def test_presets_and_steps_are_chosen_by_keys(page):
    page.get_by_role("button", name="box", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => vjepaStage.mask.some(Boolean)")
    page.get_by_role("radio", name="2", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.search.includes('steps=4')")
