"""What the panels say of themselves, and menus and enlarged panels that close, in a browser."""

import re

import cv2
import numpy as np
import pytest
from browser import grid, mask, open_page, paint, panel, pixels, show, wait_for_answer

from app.workbench import catalogue

SAMPLES = [f"sample-{i}" for i in range(4)]


def side(page, name):
    """What stands beside a panel's title."""
    return page.locator(f'[data-panel="{name}"] small').inner_text()


def test_the_first_painted_frame_shows_what_the_model_adds(browser, address):
    """Of every bundled clip: something is hidden, and the prediction is nearer than the fill."""
    page = browser.new_page(reduced_motion="reduce")  # it stays at the frame that it opens at
    open_page(page, address)
    for clip in catalogue.catalogue():
        page.locator(f'[data-clip="{clip}"]').click()
        page.wait_for_function("clip => vjepaStage.clip.id === 'bundled-' + clip", arg=clip)
        wait_for_answer(page)
        assert not page.evaluate("vjepaStage.playing")
        assert mask(page)[page.evaluate("vjepaStage.step")].any()
        expected, fill = (distance(page, name) for name in ("expected", "fill"))
        assert 0 < expected < fill, clip
    page.close()


def distance(page, name):
    """Mean squared distance of a panel from the original, on screen."""
    original, shown = (panel(page, one)[..., :3].astype(float) for one in ("original", name))
    return ((shown - original) ** 2).mean()


def watch_phases(page):
    """Notes from now on what the panels say of themselves, each with its time in ms."""
    page.evaluate(
        """() => { window.phases = [];
        vjepaStage.on("answer", () =>
            window.phases.push([vjepaStage.answer.phase, performance.now()])); }"""
    )


def wait_for_last(page, phase):
    page.wait_for_function("phase => window.phases.at(-1)?.[0] === phase", arg=phase)


def test_a_change_of_steps_or_seeds_marks_the_old_answer(page):
    """A preview of the new one, or word that it is awaited: never the old one as if it were it."""
    watch_phases(page)
    for change in ("32", "New seeds"):
        page.evaluate("window.phases.length = 0")
        page.get_by_role("radio", name=change).or_(page.get_by_role("button", name=change)).click()
        wait_for_last(page, "shown")
        phases = [phase for phase, _ in page.evaluate("window.phases")]
        assert phases[0] in ("awaited", "preview")
        assert "preview" in phases


def test_panels_say_within_a_tenth_of_a_second_that_they_wait(page):
    page.evaluate(
        """() => { const panels = [...document.querySelectorAll('*')]
            .map((host) => host.shadowRoot?.querySelector('.panels')).find(Boolean);
        const look = () => {
            window.phase = panels.dataset.answer;
            window.told = panels.querySelector('[role=status]').textContent;
        };
        addEventListener('pointerup', () => setTimeout(look, 100), true); }"""
    )
    paint(page, (6, 0), (6, 3))
    page.wait_for_function("() => window.phase")
    assert page.evaluate("window.phase") in ("awaited", "preview")
    assert page.evaluate("window.told") != "The answer is shown."  # to those who hear the page
    wait_for_answer(page)
    assert page.locator(".panels [role=status]").inner_text() == "The answer is shown."


def test_a_new_stroke_ends_work_that_nobody_waits_for(page):
    """It has its preview long before the many steps for the clip could be through."""
    watch_phases(page)
    page.get_by_role("radio", name="32").click()
    wait_for_last(page, "shown")
    page.locator('[data-clip="cockatoo"]').click()
    wait_for_last(page, "preview")
    began = page.evaluate("performance.now()")
    paint(page, (0, 0), (0, 3))
    wait_for_last(page, "shown")
    at = dict(page.evaluate("window.phases"))
    assert 0 < at["preview"] - began < (at["shown"] - at["preview"]) / 2


def test_the_time_is_this_answer_s(page):
    said = page.locator(".st-key-numbers")
    said.get_by_text("from memory").wait_for()
    paint(page, (6, 0), (6, 1))
    said.get_by_text(re.compile(r"\d s ")).wait_for()
    page.locator('[data-act="undo"]').click()
    said.get_by_text("from memory").wait_for()


def test_settings_are_one_row_which_says_what_many_steps_cost(page):
    steps = page.get_by_role("radiogroup", name="steps").get_by_role("radio")
    assert steps.all_inner_texts() == ["1", "2", "4", "8 · 4x", "16 · 8x", "32 · 16x"]
    controls = page.locator(".st-key-settings button:visible")
    middles = [box["y"] + box["height"] / 2 for box in boxes(controls)]
    assert max(middles) - min(middles) < 8


def test_wide_screens_are_used(page):
    page.set_viewport_size({"width": 1920, "height": 1000})
    page.wait_for_timeout(500)
    ends = [box["x"] + box["width"] for box in boxes(page.locator("figure"))]
    assert max(ends) > 0.95 * 1920


def boxes(locator):
    return [one.bounding_box() for one in locator.all()]


def test_where_nothing_is_hidden_there_are_no_samples(page):
    show(page, 8)
    page.locator('[data-act="clear"]').click()
    page.get_by_text("The mask is empty").wait_for()
    for name in (*SAMPLES, "expected", "fill", "ceiling", "error"):
        assert not panel(page, name)[..., 3].any()  # the clip itself would be taken for an answer
    assert (panel(page, "original")[..., 3] == 255).all()


@pytest.mark.parametrize("way_out", ["Escape", "elsewhere", "itself"])
def test_an_enlarged_panel_closes_where_one_expects(page, way_out):
    button = page.locator('[data-panel="sample-1"] button')
    button.click()
    large = page.locator("figure.large")
    large.wait_for()
    if way_out == "Escape":
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Escape")
    else:
        (page.locator("h1") if way_out == "elsewhere" else button).click()
    large.wait_for(state="detached")


@pytest.mark.parametrize("name", ["Upload", "Timing", "physics", "Link", "Export", "More"])
def test_no_tooltip_lies_over_an_open_menu(page, name):
    button = page.get_by_role("button", name=name, exact=False).last
    button.hover()
    page.wait_for_timeout(1500)
    button.click()
    page.get_by_test_id("stPopoverBody").wait_for()
    page.wait_for_timeout(500)
    assert not page.get_by_test_id("stTooltipContent").count()
    page.keyboard.press("Escape")
    page.get_by_test_id("stPopoverBody").wait_for(state="detached")


def test_the_menu_closes_when_a_file_has_come(page, cup_clip):
    page.get_by_role("button", name="Upload").first.click()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(cup_clip))
    page.wait_for_function("() => vjepaStage.clip.id.startsWith('upload-')")
    page.get_by_test_id("stPopoverBody").wait_for(state="detached")
    wait_for_answer(page)


def test_a_stroke_is_undone_on_another_page(page):
    before = mask(page)
    paint(page, (6, 0), (6, 6))
    wait_for_answer(page)
    page.get_by_role("link", name="Similarity").click()
    page.wait_for_selector(".views[data-shown]")
    assert mask(page)[:, 6].all()
    page.locator('[data-act="undo"]').click()
    assert (mask(page) == before).all()


def test_samples_stand_beside_the_best_fill(page):
    show(page, 8)
    fill, samples = (float(side(page, name).removesuffix(" dB")) for name in ("fill", "sample-0"))
    assert samples > fill
    size = panel(page, "fill").shape[0] // grid(page)[1]
    hidden = mask(page)[4].repeat(size, 0).repeat(size, 1)
    original, filled = panel(page, "original"), panel(page, "fill")
    np.testing.assert_array_equal(filled[~hidden], original[~hidden])
    assert (filled[hidden] != original[hidden]).any()


def test_a_pinned_answer_stays_and_plays_in_step(page):
    show(page, 8)
    before = panel(page, "sample-0")
    page.get_by_role("button", name="Pin", exact=True).click()
    page.wait_for_selector('[data-panel="pinned-1"][data-content="here"]')
    page.locator('[data-clip="cockatoo"]').click()
    page.wait_for_function("() => vjepaStage.clip.id === 'bundled-cockatoo'")
    page.locator('.panels:not(.fixed)[data-answer="shown"]').wait_for()
    show(page, 8)
    difference = panel(page, "pinned-1")[..., :3].astype(int) - before[..., :3]
    assert abs(difference).mean() < 3  # JPEG alone
    show(page, 0)
    assert (panel(page, "pinned-1") != before).mean() > 0.2
    page.get_by_role("button", name="Unpin").click()
    page.locator('[data-panel="pinned-1"]').wait_for(state="detached")


def test_decoding_is_shown_step_by_step_to_who_opens_it(page):
    assert not page.locator('[data-panel="given-0"]').count()
    page.get_by_text("From noise to picture").click()
    page.locator('[data-panel="guess-1"][data-content="here"]').wait_for()
    show(page, 8)
    given, sample = panel(page, "given-0"), panel(page, "guess-1")
    size = given.shape[0] // grid(page)[1]
    hidden = mask(page)[4].repeat(size, 0).repeat(size, 1)
    rough = lambda frame: np.abs(np.diff(frame[hidden][:, :3].astype(int), axis=0)).mean()  # noqa: E731
    assert rough(given) > 2 * rough(sample)
    page.wait_for_function("() => location.search.includes('denoising=open')")


def test_the_parts_of_the_way_light_while_they_work(page):
    way = page.locator(".way ol").first
    way.evaluate(
        """(list) => { window.lit = [];
        new MutationObserver((changes) => changes.forEach(({ target }) => {
            if (target.classList.contains('busy')) window.lit.push(target.dataset.part);
        })).observe(list, { subtree: true, attributeFilter: ['class'] }); }"""
    )
    paint(page, (6, 0), (6, 3))
    wait_for_answer(page)
    lit = list(dict.fromkeys(page.evaluate("window.lit")))
    assert lit[-1] == "decoder"
    assert {"dropped", "context", "predictor"} == set(lit[:-1])
    assert not way.locator(".busy").count()


def test_a_part_of_the_way_tells_of_itself_and_closes(page):
    page.locator('[data-part="predictor"] button').click()
    told = page.locator(".about")
    hidden = int(mask(page).sum())
    assert f"{hidden} hidden ones" in told.inner_text()
    show(page, 8)  # its picture asks about what is hidden now
    asked = (pixels(page, ".about canvas")[..., :3] == 0x8F).all(-1).mean()
    assert asked == pytest.approx(mask(page)[4].mean(), rel=0.5)
    with page.expect_popup() as coming:
        told.get_by_role("link", name="vjepa/transformer.py").click()
    coming.value.get_by_text("class Attention").first.wait_for()
    coming.value.close()
    page.keyboard.press("Escape")
    assert not told.is_visible()


def test_the_tour_has_at_most_five_stops_and_can_be_left(page):
    page.get_by_role("button", name="Tour").click()
    card = page.get_by_role("dialog", name="Tour")
    stops = int(card.locator("small").inner_text().split()[-1])
    assert stops <= 5
    for _ in range(stops):
        card.locator('[data-act="next"]').click()
    assert not card.count()
    page.get_by_role("button", name="Tour").click()
    page.keyboard.press("Escape")
    assert not card.count()


def test_numbers_say_whether_training_hid_like_this(page):
    line = page.locator(".st-key-numbers")
    page.get_by_role("button", name="future").click()
    line.get_by_text("like training's futures").wait_for()
    page.get_by_role("button", name="random").click()
    line.get_by_text("unlike training's").wait_for()


def test_every_export_is_a_file_of_its_kind(page):
    page.get_by_role("button", name="Export").click()
    menu = page.get_by_test_id("stPopoverBody")
    marks = {"webp": b"WEBP", "png": b"PNG", "gif": b"GIF8", "mp4": b"ftyp"}
    for kind, mark in (marks | {"mask.npz": b"PK", "recipe.json": b"{"}).items():
        assert mark in saved(page, menu, kind)[:12], kind
    one = cv2.imdecode(np.frombuffer(saved(page, menu, "png"), np.uint8), cv2.IMREAD_COLOR)
    menu.get_by_role("radio", name="side by side").click()
    page.wait_for_timeout(1000)
    every = cv2.imdecode(np.frombuffer(saved(page, menu, "png"), np.uint8), cv2.IMREAD_COLOR)
    assert every.size > 5 * one.size


def saved(page, menu, kind):
    """The bytes of a file that the menu of exports makes."""
    with page.expect_download() as coming:
        menu.get_by_role("button", name=kind, exact=True).click()
    return coming.value.path().read_bytes()
