"""For everyone: what axe finds, keys, headings and titles, narrow screens, on every page."""

from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import PATIENCE, pixels

from app.learn.page import LESSONS

PAGES = (
    *("mask-and-decode", "embeddings", "similarity", "surprise", "probes", "evaluation"),
    *("learn", "gallery"),
)
READY = '.panels[data-answer="shown"], .views[data-shown], .js-plotly-plot, .gallery'
WIDTHS = (320, 390, 720)
SCHEMES = ("light", "dark")
MENUS = ("Upload", "Timing", "physics", "Link", "More", "Export")
MOST_STOPS = 300
FINGERS = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def opened(browser, address, name, **options):
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/{name}")
    page.wait_for_selector(READY)
    page.wait_for_timeout(1500)  # the rest of the page
    return page


def grave(page):
    """What axe calls serious or critical, and where."""
    return [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module", params=PAGES)
def place(request, browser, address):
    """One of the pages, opened once for all that is asked of it."""
    page = opened(browser, address, request.param)
    yield page
    page.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious(place, scheme):
    place.emulate_media(color_scheme=scheme)
    place.wait_for_function(
        "scheme => getComputedStyle(document.querySelector('.stApp')).colorScheme === scheme",
        arg=scheme,
    )
    place.wait_for_timeout(500)  # until charts have followed
    assert not grave(place)


STEP = """() => {
    const drawn = (one) => (one.matches("input") ? one.parentElement : one); // may itself be unseen
    const look = (one) => [drawn(one), ...drawn(one).querySelectorAll("*")].map((near) => {
        const { outline, boxShadow, borderColor, backgroundColor } = getComputedStyle(near);
        return [outline, boxShadow, borderColor, backgroundColor];
    }).join();
    const walk = (window.walk ??= { reached: new Set(), unlit: [] });
    const { last } = walk;
    if (last?.one.isConnected && look(last.one) === last.look) walk.unlit.push(last.one.outerHTML);
    let one = document.activeElement;
    while (one?.shadowRoot) one = one.shadowRoot.activeElement;
    walk.last = one && one !== document.body ? { one, look: look(one) } : null;
    walk.first ??= walk.last?.one;
    const again = walk.reached.has(one) && one === walk.first;
    if (walk.last) walk.reached.add(one);
    return again;
}"""
"""Notes what has the focus, and what did not show that it had; whether all have had it."""

MISSED = """() => {
    const { reached } = window.walk;
    const POINTED = ["pointer", "crosshair", "ew-resize", "help", "zoom-in"];
    const near = (one) => [...reached].some((other) => one.contains(other) || other.contains(one));
    const missed = [];
    const look = (root) => root.querySelectorAll("*").forEach((one) => {
        if (one.shadowRoot) look(one.shadowRoot);
        if (!one.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return;
        if (!POINTED.includes(getComputedStyle(one).cursor)) return;
        if (one.matches(":disabled, :disabled *") || one.closest(".js-plotly-plot")) return;
        const group = one.closest("label, .card, [role=radiogroup]");
        if (!near(one) && !(group && near(group))) missed.push(one.outerHTML.slice(0, 200));
    });
    look(document);
    return missed;
}"""
"""What invites a pointer and had no focus, nor anything in or around it."""


CUT = """() => {
    const LINES = "[role=radiogroup]:not(.picker), figcaption, .blend, .bar, .group";
    const right = (one) => one.getBoundingClientRect().right;
    const cut = [];
    const look = (root) => root.querySelectorAll("*").forEach((one) => {
        if (one.shadowRoot) look(one.shadowRoot);
        const long = one.matches(LINES) && one.scrollWidth > one.clientWidth + 1;
        const room = one.matches(".js-plotly-plot") && one.closest(".stColumn, .stMain");
        if (long || (room && right(one) > right(room) + 1)) cut.push(one.outerHTML.slice(0, 200));
    });
    look(document);
    return cut;
}"""
"""Settings, legends, tools and charts that are wider than their place."""


def narrow(page):
    """What does not fit on narrow screens, by their width."""
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(500)
        main = page.get_by_test_id("stMain")
        wide, room = main.evaluate("main => [main.scrollWidth, main.clientWidth]")
        found[width] = [*page.evaluate(CUT), *["the page"] * (wide > room)]
    return {width: what for width, what in found.items() if what}


def tab_through(page):
    """Presses Tab until the focus has been everywhere.

    Returns:
        what invites a pointer and is not reached, and what does not show that it has the focus.
    """
    page.add_style_tag(content="* { transition: none !important; }")
    page.evaluate("delete window.walk")
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate(STEP):
            return page.evaluate(MISSED), page.evaluate("window.walk.unlit")
    raise AssertionError("The focus does not come back to where it began.")


def test_every_control_is_reached_by_tab_and_shows_it(place):
    missed, unlit = tab_through(place)
    assert not missed
    assert not unlit


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_in_a_lesson(browser, address, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    for name in LESSONS:
        page.goto(f"{address}/learn?lesson={name}")
        lesson = page.locator(f".st-key-lesson_{name}")
        lesson.locator(".js-plotly-plot").first.wait_for()
        lesson.get_by_test_id("stExpander").locator("summary").click()
        lesson.get_by_test_id("stExpanderDetails").wait_for()
        page.wait_for_timeout(500)  # until it has folded out
        assert not grave(page), name
        if scheme == SCHEMES[0]:
            assert tab_through(page) == ([], []), name
            assert not narrow(page), name
            page.set_viewport_size({"width": 1280, "height": 720})
    page.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_in_what_opens(browser, address, scheme):
    page = opened(browser, address, "mask-and-decode", color_scheme=scheme)
    for name in MENUS:
        page.get_by_role("button", name=name).last.click()
        page.get_by_test_id("stPopoverBody").wait_for()
        page.wait_for_timeout(500)  # until it has faded in
        assert not grave(page), name
        page.keyboard.press("Escape")
        page.get_by_test_id("stPopoverBody").wait_for(state="detached")
    for opener, what in (
        (page.locator('[data-part="predictor"] button'), page.locator(".about")),
        (page.get_by_role("button", name="Tour"), page.get_by_role("dialog", name="Tour")),
        (page.locator('[data-panel="sample-0"] button'), page.locator("figure.large")),
    ):
        opener.click()
        what.wait_for()
        assert not grave(page), what
        page.keyboard.press("Escape")
    page.close()


def test_what_opens_by_enter_closes_by_escape_and_gives_the_focus_back(browser, address):
    page = opened(browser, address, "mask-and-decode")
    openers = [
        *(
            (page.get_by_role("button", name=name).last, page.get_by_test_id("stPopoverBody"))
            for name in MENUS
        ),
        (page.locator('[data-part="predictor"] button'), page.locator(".about")),
        (page.get_by_role("button", name="Tour"), page.get_by_role("dialog", name="Tour")),
        (page.locator('[data-panel="sample-0"] button'), page.locator("figure.large")),
    ]
    for opener, what in openers:
        opener.focus()
        page.keyboard.press("Enter")
        what.wait_for()
        page.keyboard.press("Escape")
        what.wait_for(state="hidden")
        assert opener.evaluate("one => one.getRootNode().activeElement === one"), opener
    page.close()


TOO_SMALL = """() => {
    const CONTROLS = "button, summary, input[type=range], [role=radio], [role=slider], a[href]";
    const NOT_HERE = "p, li, table, .stSidebar, .stSlider, .js-plotly-plot";
    const small = [];
    const look = (root) => root.querySelectorAll("*").forEach((one) => {
        if (one.shadowRoot) look(one.shadowRoot);
        if (!one.matches(CONTROLS) || one.closest(NOT_HERE)) return;
        const { width, height } = one.getBoundingClientRect();
        const seen = one.checkVisibility({ visibilityProperty: true }) && height > 1;
        if (seen && height < 44) small.push([one.ariaLabel || one.innerText, width, height]);
    });
    look(document);
    return small;
}"""
"""Controls that are lower than a finger. Links in a text are as high as its lines; a slider of
Streamlit's answers along its whole track."""

ASKEW = """() => [...document.querySelectorAll("[data-testid=stCheckbox] label")].map((label) => {
    const middle = ({ top, bottom }) => (top + bottom) / 2;
    const [knob, words] = [label.children[1], label.querySelector("p")];
    return Math.abs(middle(knob.getBoundingClientRect()) - middle(words.getBoundingClientRect()));
}).filter((askew) => askew > 4)"""
"""Toggles that do not stand beside their words."""

SPILT = """() => [...document.querySelectorAll("[class*=st-key-]")]
    .filter((one) => one.checkVisibility() && one.scrollHeight > one.clientHeight + 20)
    .map((one) => [one.className, one.scrollHeight - one.clientHeight])"""
"""What is higher than its place, and lies over what comes next. Texts end 16 px below theirs."""


@pytest.mark.parametrize("name", PAGES)
def test_fingers_find_room_and_nothing_lies_over_what_comes_next(browser, address, name):
    page = opened(browser, address, name, **FINGERS)
    assert not page.evaluate(TOO_SMALL)
    assert not page.evaluate(SPILT)
    assert not page.evaluate(ASKEW)
    page.close()


def test_every_page_has_its_heading_and_title_and_fits(place):
    heading = place.locator("h1")
    assert heading.count() == 1
    title = heading.inner_text()
    assert urlsplit(place.url).path == f"/{title.lower().replace(' ', '-')}"
    assert place.title() == f"{title} · V-JEPA Explorer"
    assert place.locator("[aria-current=page]").inner_text().endswith(title)
    assert not narrow(place)


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


@pytest.mark.parametrize("name", PAGES)
def test_what_comes_later_moves_little(browser, address, name):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.add_init_script(OWN_SHIFTS)
    page.goto(f"{address}/{name}")
    page.wait_for_selector(READY)
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
