"""What the panels say of themselves, and menus and enlarged panels that close, in a browser."""

import numpy as np
import pytest
from browser import grid, mask, open_page, paint, panel, show, wait_for_answer

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


def test_a_change_of_steps_or_seeds_marks_the_old_answer(page):
    """A preview of the new one, or word that it is awaited: never the old one as if it were it."""
    page.evaluate(
        """() => { window.phases = [];
        const panels = [...document.querySelectorAll('*')]
            .map((host) => host.shadowRoot?.querySelector('.panels')).find(Boolean);
        new MutationObserver(() => window.phases.push(panels.dataset.answer))
            .observe(panels, { attributeFilter: ['data-answer'] }); }"""
    )
    for change in ("32", "New seeds"):
        page.evaluate("window.phases.length = 0")
        page.get_by_role("radio", name=change).or_(page.get_by_role("button", name=change)).click()
        page.wait_for_function("() => window.phases.at(-1) === 'shown'")
        phases = page.evaluate("window.phases")
        assert phases[0] in ("awaited", "preview")
        assert "preview" in phases


def test_panels_say_within_a_tenth_of_a_second_that_they_wait(page):
    page.evaluate(
        """() => { const panels = [...document.querySelectorAll('*')]
            .map((host) => host.shadowRoot?.querySelector('.panels')).find(Boolean);
        const look = () => { window.phase = panels.dataset.answer; };
        addEventListener('pointerup', () => setTimeout(look, 100), true); }"""
    )
    paint(page, (6, 0), (6, 3))
    page.wait_for_function("() => window.phase")
    assert page.evaluate("window.phase") in ("awaited", "preview")


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
    page.locator('[data-clip="city_timelapse"]').click()
    page.wait_for_function("() => vjepaStage.clip.id === 'bundled-city_timelapse'")
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
    page.locator('[data-panel="guess-3"][data-content="here"]').wait_for()
    show(page, 8)
    given, sample = panel(page, "given-0"), panel(page, "guess-3")
    size = given.shape[0] // grid(page)[1]
    hidden = mask(page)[4].repeat(size, 0).repeat(size, 1)
    rough = lambda frame: np.abs(np.diff(frame[hidden][:, :3].astype(int), axis=0)).mean()  # noqa: E731
    assert rough(given) > 2 * rough(sample)
    page.wait_for_function("() => location.search.includes('denoising=open')")


def test_a_part_of_the_way_tells_of_itself_and_closes(page):
    page.locator('[data-part="predictor"] button').click()
    told = page.locator(".about")
    hidden = int(mask(page).sum())
    assert f"{hidden} hidden ones" in told.inner_text()
    assert told.get_by_role("link", name="vjepa/transformer.py").count() == 1
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
        with page.expect_download() as coming:
            menu.get_by_role("button", name=kind, exact=True).click()
        assert mark in coming.value.path().read_bytes()[:12], kind
