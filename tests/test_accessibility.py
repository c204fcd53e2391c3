"""For everyone: what axe finds, headings and titles, narrow screens, on every page."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import PATIENCE

PAGES = ("mask-and-decode", "embeddings", "similarity", "surprise", "probes", "evaluation")
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
