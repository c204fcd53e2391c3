"""The pages beside "Mask and decode" in a browser: views that answer to clicks, charts to views."""

import numpy as np
import pytest
from browser import drag, grid, mask, paint, pixels, show, wait_for_answer

from app.gallery import curated
from app.workbench.figures import to_link


@pytest.fixture
def page(tab):
    return tab


def open_views(page, address, name):
    """Goes to a page and waits until its views are drawn; stops the clip."""
    page.goto(f"{address}/{name}")
    page.wait_for_selector(".views[data-shown]")
    page.wait_for_function("() => vjepaStage.clip")
    show(page, 4)


def view(page, name):
    """RGB of a view as it is on screen."""
    return pixels(page, f'[data-view="{name}"] .film')[..., :3]


def click(page, name, row, column):
    """Clicks on a patch of a view and waits until Python knows."""
    before = page.locator(".views").get_attribute("data-shown")
    _, h, w = grid(page)
    drag(page, f'[data-view="{name}"] .ink', ((column + 0.5) / w, (row + 0.5) / h))
    wait_for_news(page, before)


def wait_for_news(page, before):
    """Until the views show another state than before."""
    page.wait_for_function(
        """before => [...document.querySelectorAll('*')]
            .map((host) => host.shadowRoot?.querySelector('.views'))
            .find(Boolean)?.dataset.shown !== before""",
        arg=before,
    )


def selected(page):
    return set(page.evaluate("[...vjepaStage.selected]"))


def test_all_pages_stand_in_the_row_of_a_small_notebook(page, address):
    page.set_viewport_size({"width": 1280, "height": 800})
    open_views(page, address, "similarity")
    assert page.get_by_role("link", name="Gallery").is_visible()
    assert page.get_by_test_id("stTopNavSection").count() == 0  # where others are put away


def test_a_click_on_a_patch_moves_the_heat_map(page, address):
    open_views(page, address, "similarity")
    click(page, "cosine", 3, 4)
    on_the_cup = view(page, "cosine")
    t, h, w = grid(page)
    token = (page.evaluate("vjepaStage.step") * h + 3) * w + 4
    assert selected(page) == {token}
    assert "select=" in page.url

    click(page, "cosine", 0, 0)
    on_the_wall = view(page, "cosine")
    side = len(on_the_wall) // h
    # the patch that was chosen is the brightest of its own map, and not of the other
    for chosen, other, (row, column) in (
        (on_the_cup, on_the_wall, (3, 4)),
        (on_the_wall, on_the_cup, (0, 0)),
    ):
        spot = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        assert (chosen[spot] != other[spot]).any()


def test_a_press_on_the_clip_itself_asks_about_its_patches(page, address):
    open_views(page, address, "similarity")
    hidden = mask(page)
    _, h, w = grid(page)
    assert page.locator(".hint").locator("visible=true").inner_text().startswith("Click a patch")
    stamp = page.locator(".views").get_attribute("data-shown")
    paint(page, (3, 4), (3, 5))
    wait_for_news(page, stamp)
    first = page.evaluate("vjepaStage.step") * h * w + 3 * w + 4
    assert selected(page) == {first, first + 1}
    assert (mask(page) == hidden).all()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("() => vjepaStage.selected.size === 1")
    page.keyboard.press("b")  # who wants to can hide here too
    paint(page, (6, 0), (6, 6))
    assert mask(page)[:, 6].all()
    page.get_by_role("link", name="Embeddings").click()
    page.wait_for_selector('[data-view="colours"]')
    page.wait_for_timeout(500)
    assert page.locator('[data-tool="brush"]').get_attribute("aria-pressed") == "true"
    assert not page.locator('[data-tool="pick"]').is_visible()


def test_back_and_forward_lead_from_page_to_page(page, address):
    lit = page.locator("[aria-current=page] p")
    page.goto(f"{address}/mask-and-decode?clip=bundled-cup_tilt_zoom")
    wait_for_answer(page)
    assert lit.inner_text() == "Mask and decode"
    before = mask(page)
    page.get_by_role("link", name="Similarity").click()
    page.wait_for_selector('[data-view="cosine"]')
    assert lit.inner_text() == "Similarity"
    page.go_back()
    wait_for_answer(page)
    assert page.locator("h1").inner_text() == "Mask and decode" == lit.inner_text()
    assert (mask(page) == before).all()
    page.go_forward()
    page.wait_for_selector('[data-view="cosine"]')
    assert page.evaluate("vjepaStage.clip.id") == "bundled-cup_tilt_zoom"
    page.get_by_role("link", name="Mask and decode").click()
    wait_for_answer(page)
    assert lit.inner_text() == "Mask and decode"


def test_another_clip_has_nothing_selected(page, address):
    open_views(page, address, "similarity")
    click(page, "cosine", 2, 3)
    assert selected(page) and "select=" in page.url
    stamp = page.locator(".views").get_attribute("data-shown")
    page.locator('[data-clip="cockatoo"]').click()
    page.wait_for_function("() => vjepaStage.clip.id === 'bundled-cockatoo'")
    wait_for_news(page, stamp)
    assert not selected(page)
    assert "select=" not in page.url


def test_a_setting_stays_on_its_page_and_in_the_link(page, address):
    open_views(page, address, "similarity")
    layer = page.get_by_role("radio", name="2", exact=True)
    layer.click()
    page.wait_for_function("() => location.search.includes('layer=2')")
    page.get_by_role("link", name="Evaluation").click()
    page.get_by_role("radio", name="drawn world").click()
    page.get_by_role("radio", name="gain from the predictions").click()
    for part in ("clips=world", "cases=gain", "layer=2", "mask="):
        page.wait_for_function("part => location.search.includes(part)", arg=part)
    page.get_by_role("link", name="Similarity").click()
    page.wait_for_selector('[data-view="cosine"]')
    assert layer.get_attribute("aria-checked") == "true"


def test_evaluation_opens_as_its_link_says(page, address):
    query = "clip=bundled-cup_tilt_zoom&clips=real&cases=gain"
    page.goto(f"{address}/evaluation?{query}")
    for chosen in ("real video", "gain from the predictions"):
        one = page.get_by_role("radio", name=chosen)
        one.wait_for()
        assert one.get_attribute("aria-checked") == "true"
    page.wait_for_function("() => location.search.includes('mask=')")  # it was written anew
    assert all(part in page.url for part in query.split("&"))


def test_probes_name_a_class_only_of_clips_that_have_one(page, address):
    open_views(page, address, "probes?clip=bundled-cup_tilt_zoom")
    page.get_by_text("this clip has none of them").wait_for()
    chart = page.locator(".st-key-probe_bars .js-plotly-plot")
    assert not chart.count()
    assert not page.get_by_text("from the whole clip").count()
    page.get_by_role("button", name="Show a clip that it knows").click()
    chart.get_by_text("(true)").wait_for()
    assert chart.locator(".shapelayer path").count() == 1  # what a guess gives


def test_surprise_says_what_one_scene_can_prove(page, address):
    page.goto(f"{address}/surprise")
    page.get_by_text("One scene proves nothing").wait_for()
    page.get_by_role("button", name="Another scene").click()
    page.wait_for_function("() => location.search.includes('scene=')")


def test_a_card_of_the_gallery_leads_to_its_view(page, address):
    page.goto(f"{address}/gallery")
    cards = page.locator(".gallery a")
    cards.first.wait_for()
    assert cards.count() == len(curated())
    view = next(view for view in curated() if view.page == "similarity")
    cards.filter(has_text=view.title).click()
    page.wait_for_selector('[data-view="cosine"]')
    page.wait_for_function("() => vjepaStage.selected.size")
    assert to_link(mask(page)) == view.query["mask"]


def test_a_selection_goes_along_to_another_page(page, address):
    open_views(page, address, "similarity")
    click(page, "cosine", 2, 3)
    chosen = selected(page)
    page.get_by_role("link", name="Surprise").click()
    page.wait_for_selector('[data-view="surprise"]')
    page.wait_for_timeout(500)
    assert chosen
    assert selected(page) == chosen


def test_selected_points_light_their_patches_and_patches_their_points(page, address):
    open_views(page, address, "embeddings")
    page.wait_for_selector(".js-plotly-plot .scatterlayer")
    before = page.locator(".views").get_attribute("data-shown")
    plot = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    x, y = plot["x"], plot["y"]
    page.mouse.move(x + 2, y + 2)
    page.mouse.down()
    page.mouse.move(x + plot["width"] / 2, y + plot["height"] - 2, steps=8)
    page.mouse.up()
    wait_for_news(page, before)
    circled = selected(page)
    assert 0 < len(circled) < np.prod(grid(page))

    click(page, "colours", 6, 0)
    assert len(selected(page)) == 1
    page.wait_for_function(  # the chart is missing while it is replaced
        """() => document.querySelector('.js-plotly-plot')?.data
            ?.some((trace) => trace.selectedpoints?.length === 1)"""
    )


def test_the_probe_s_reading_changes_with_the_mask(page, address):
    open_views(page, address, "probes?clip=world-7")
    said = page.get_by_text("from the whole clip").inner_text()
    before = {name: view(page, name) for name in ("whole", "context", "restored")}
    stamp = page.locator(".views").get_attribute("data-shown")
    paint(page, (0, 0), (0, 6))
    wait_for_news(page, stamp)
    hidden = mask(page)
    assert hidden[:, 0].all()
    page.wait_for_function("said => !document.body.innerText.includes(said)", arg=said)
    np.testing.assert_array_equal(view(page, "whole"), before["whole"])
    assert (view(page, "restored") != before["restored"]).any()
    size = len(before["context"]) // grid(page)[1]
    dropped = pixels(page, '[data-view="context"] .film')[:size]
    assert (dropped[..., 3] == 0).all()  # cleared: the hatching shows


def test_the_error_behind_the_mask_follows_the_painter(page, address):
    open_views(page, address, "surprise")
    names = page.locator("[data-view]").evaluate_all("all => all.map((f) => f.dataset.view)")
    before = {name: view(page, name) for name in names[:2]}
    stamp = page.locator(".views").first.get_attribute("data-shown")
    paint(page, (6, 0), (6, 6))
    wait_for_news(page, stamp)
    future, behind = names[:2]
    np.testing.assert_array_equal(view(page, future), before[future])
    assert (view(page, behind) != before[behind]).any()
