"""For everyone: what axe finds, headings and titles, narrow screens, on every page."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import PATIENCE, pixels

PAGES = (
    *("mask-and-decode", "embeddings", "similarity", "surprise", "probes", "evaluation"),
    "learn",
)
READY = '.panels[data-answer="shown"], .views[data-shown], .js-plotly-plot'
WIDTHS = (320, 390, 720)


def opened(browser, address, name, **options):
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/{name}")
    page.wait_for_selector(READY)
    page.wait_for_timeout(1500)  # the rest of the page
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(browser, address, name, scheme):
    page = opened(browser, address, name, color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    grave = [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    page.close()
    assert not grave


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_its_heading_and_title_and_fits(browser, address, name):
    page = opened(browser, address, name)
    heading = page.locator("h1")
    assert heading.count() == 1
    assert heading.inner_text().lower().replace(" ", "-") == name
    assert page.title() == f"{heading.inner_text()} · V-JEPA Explorer"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(500)
        main = page.get_by_test_id("stMain")
        wide, room = main.evaluate("main => [main.scrollWidth, main.clientWidth]")
        assert wide <= room, f"{wide - room} px too wide at {width} px"
    page.close()


OWN_SHIFTS = """
window.shifts = 0;
let dressed = Infinity;
const look = () => {
    const main = document.querySelector(".stMainBlockContainer");
    if (main && parseFloat(getComputedStyle(main).paddingTop) < 70) dressed = performance.now();
    else requestAnimationFrame(look);
};
look();
new PerformanceObserver((list) => list.getEntries().forEach((one) => {
    if (one.startTime > dressed + 200 && !one.hadRecentInput) window.shifts += one.value;
})).observe({ type: "layout-shift", buffered: true });
"""
"""Sums what moves once our styles are there. Streamlit draws the page before it has them: narrow,
and 62 pixels lower."""


@pytest.mark.parametrize("name", [*PAGES, "gallery"])
def test_what_comes_later_moves_little(browser, address, name):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.add_init_script(OWN_SHIFTS)
    page.goto(f"{address}/{name}")
    page.wait_for_selector(f"{READY}, .gallery")
    page.wait_for_timeout(3000)
    assert page.evaluate("window.shifts") < 0.1
    page.close()


def test_what_moves_can_be_stopped_where_there_is_no_painter(browser, address):
    page = opened(browser, address, "evaluation")
    button = page.locator(".player").first
    button.scroll_into_view_if_needed()
    assert button.inner_text() == "Pause"
    button.click()
    stopped = page.evaluate("vjepaStage.frame")
    page.wait_for_timeout(500)
    assert page.evaluate("vjepaStage.frame") == stopped
    assert button.inner_text() == "Play"
    page.close()
    page = opened(browser, address, "evaluation", reduced_motion="reduce")
    assert page.locator(".player").first.inner_text() == "Play"
    assert page.evaluate("vjepaStage.frame") > 0  # the first frame has hardly anything
    page.close()


def test_scenes_stop_with_the_painter(browser, address):
    page = opened(browser, address, "surprise")
    scene = '[data-panel^="vanish"] canvas >> nth=0'
    page.locator(scene).wait_for()
    assert not page.locator("img[src*='.gif']").count()  # nothing that plays by itself
    page.locator('[data-act="play"]').click()
    film = pixels(page, scene)
    page.wait_for_timeout(500)
    assert (pixels(page, scene) == film).all()
    page.close()
