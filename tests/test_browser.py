"""What only a browser shows: painting with the mouse, panels in step, keys, links."""

import numpy as np
import pytest
from browser import (
    drag,
    grid,
    mask,
    open_page,
    paint,
    panel,
    pixels,
    show,
    wait_for_answer,
)

from app.workbench import catalogue
from app.workbench.clip import Upload
from app.workbench.figures import to_link
from app.workbench.models import DEMO
from vjepa.data.clips import bundled_clips, read_frames

DECODED = ("sample-0", "sample-1", "sample-2", "sample-3", "ceiling")


@pytest.fixture
def first_clip():
    """The clip that a visitor sees who asks for none."""
    return bundled_clips()[catalogue.first_clip()]


def wait_for_link(page, hidden):
    """Until the page's address says what is hidden."""
    word = to_link(hidden)
    page.wait_for_function("word => location.search.includes(word)", arg=word)


def hidden_pixels(hidden, frame, size, frames):
    """The mask at one frame, at the resolution of the pixels."""
    t, h, w = hidden.shape
    return hidden[frame * t // frames].repeat(size // h, 0).repeat(size // w, 1)


def test_painting_decodes_new_frames_and_leaves_the_rest_of_the_input(page, first_clip):
    show(page, 5)
    before = {name: panel(page, name) for name in DECODED}
    paint(page, (0, 1), (0, 4))
    page.wait_for_selector('.panels[data-answer="awaited"]')
    wait_for_answer(page)

    hidden = mask(page)
    assert hidden[:, 0, 1:5].all()
    assert not hidden[:, 0, [0, 5, 6]].any()
    size = len(before["ceiling"])
    frames = read_frames(first_clip, size, page.evaluate("vjepaStage.clip.frames"))
    for index in (5, 0, 15):
        show(page, index)
        inside = hidden_pixels(hidden, index, size, len(frames))
        for name in DECODED:
            shown = panel(page, name)
            assert (shown[..., 3] == 255).all()
            np.testing.assert_array_equal(shown[~inside, :3], frames[index][~inside])
            assert (shown[inside, :3] != frames[index][inside]).mean() > 0.5
    show(page, 5)
    painted = np.s_[: size // grid(page)[1], 2 * size // 7 : 4 * size // 7]
    for name in DECODED:
        assert (panel(page, name)[painted] != before[name][painted]).any()
    assert (panel(page, "sample-0")[painted] != panel(page, "sample-1")[painted]).any()


def test_the_model_is_shown_only_what_it_sees(page, first_clip):
    show(page, 8)
    masked = panel(page, "masked")
    inside = hidden_pixels(mask(page), 8, len(masked), 16)
    assert inside.any()
    assert (masked[inside, 3] == 0).all()
    np.testing.assert_array_equal(masked[~inside, :3], read_frames(first_clip, 112, 16)[8][~inside])


def test_panels_play_in_step_with_the_painter(page):
    read = """() => ['.film', '[data-panel="original"] canvas'].map(find).map((canvas) =>
        canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.join())"""
    pierce = """const find = (selector) => [...document.querySelectorAll('*')]
        .map((host) => host.shadowRoot?.querySelector(selector)).find(Boolean);"""
    seen = set()
    for _ in range(4):
        painter, original = page.evaluate(f"() => {{ {pierce} return ({read})(); }}")
        assert painter == original
        seen.add(painter)
        page.wait_for_timeout(300)
    assert len(seen) > 1


def test_strokes_go_to_the_chosen_time_steps_and_history_works(page):
    page.locator('[data-act="clear"]').click()
    assert not mask(page).any()
    t, h, w = grid(page)
    drag(page, ".strip", (1.5 / t, 0.5), (3.5 / t, 0.5))
    page.locator('[data-tool="rectangle"]').click()
    paint(page, (1, 1), (2, 3))
    block = np.zeros((t, h, w), bool)
    block[1:4, 1:3, 1:4] = True
    assert (mask(page) == block).all()

    page.keyboard.press("e")
    paint(page, (1, 1), (1, 3))
    erased = block.copy()
    erased[1:4, 1, 1:4] = False
    assert (mask(page) == erased).all()

    page.keyboard.press("z")
    assert (mask(page) == block).all()
    page.keyboard.press("y")
    assert (mask(page) == erased).all()
    page.keyboard.press("i")
    assert (mask(page) == ~erased).all()
    page.keyboard.press("Control+z")
    wait_for_link(page, erased)


def test_a_preset_reaches_the_painter_and_can_be_undone(page):
    before = mask(page)
    page.get_by_role("button", name="future").click()
    page.wait_for_function("() => vjepaStage.mask.slice(-49).every(Boolean)")
    wait_for_answer(page)
    assert mask(page).mean() == 0.5
    page.locator(".painter .ink").focus()
    page.keyboard.press("z")
    assert (mask(page) == before).all()
    wait_for_answer(page)


def test_keys_do_not_reach_streamlit(browser, address):
    page = browser.new_page()
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_page(page, address)
    page.wait_for_timeout(1500)
    page.locator(".painter .ink").focus()
    sent.clear()
    page.keyboard.press("c")
    page.keyboard.press("r")
    page.wait_for_timeout(1000)
    assert page.locator('[data-tool="rectangle"]').get_attribute("aria-pressed") == "true"
    assert not sent
    assert not page.get_by_role("dialog").count()

    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("r")  # outside the painter it is Streamlit's: runs the page again
    page.wait_for_timeout(1000)
    assert sent
    page.close()


def test_link_opens_the_same_mask(page, browser):
    steps_back = page.evaluate("history.length")
    paint(page, (6, 0), (6, 6))
    painted = mask(page)
    wait_for_link(page, painted)
    assert page.evaluate("history.length") == steps_back
    other = browser.new_page()
    open_page(other, page.url)
    assert (mask(other) == painted).all()
    other.close()


def test_a_link_opens_the_same_view_in_a_fresh_browser(page, browser):
    paint(page, (6, 0), (6, 6))
    page.get_by_role("radio", name="4", exact=True).click()
    page.get_by_role("button", name="New seeds").click()
    wait_for_link(page, mask(page))
    page.wait_for_function(
        "() => /seed=4/.test(location.search) && /steps=4/.test(location.search)"
    )
    wait_for_answer(page)
    context = browser.new_context()
    other = context.new_page()
    open_page(other, page.url)
    assert other.get_by_role("radio", name="4", exact=True).get_attribute("aria-checked") == "true"
    for tab in (page, other):
        show(tab, 8)
    assert (mask(other) == mask(page)).all()
    for name in DECODED:
        np.testing.assert_array_equal(panel(other, name), panel(page, name))
    context.close()


def test_a_link_to_an_upload_says_what_it_needs(tab, address, cup_clip):
    upload = Upload(cup_clip.name, cup_clip.read_bytes()).address
    hidden = np.zeros(DEMO.config.grid, bool)
    hidden[:, 6] = True
    open_page(tab, f"{address}/?clip={upload.id}&mask={to_link(hidden)}")
    alert = tab.get_by_test_id("stAlert")
    assert "upload the file again" in alert.inner_text()
    assert tab.evaluate("vjepaStage.clip.id") == f"bundled-{catalogue.first_clip()}"
    assert (mask(tab) == hidden).all()
    bring(tab, cup_clip)  # and then the link is true
    alert.wait_for(state="detached")
    assert tab.evaluate("vjepaStage.clip.id") == upload.id
    assert (mask(tab) == hidden).all()


def bring(page, file):
    """Uploads a file and waits until it plays."""
    page.get_by_role("button", name="Upload").first.click()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(file))
    page.wait_for_function("() => vjepaStage.clip.id.startsWith('upload-')")


def test_drawn_scenes_and_files_stay_to_go_back_to(page, cup_clip):
    def wait_for_another(clip):
        page.wait_for_function("clip => vjepaStage.clip.id !== clip", arg=clip)
        return page.evaluate("vjepaStage.clip.id")

    bring(page, cup_clip)
    seen = [page.evaluate("vjepaStage.clip.id")]
    for _ in range(2):
        page.locator('[data-clip="world"]').click()
        seen.append(wait_for_another(seen[-1]))
    page.get_by_role("button", name="Scene").click()
    menu = page.get_by_test_id("stPopoverBody")
    menu.get_by_role("combobox", name="event").click()
    page.get_by_role("option", name="bounce").click()
    menu.get_by_role("button", name="Draw").click()
    seen.append(wait_for_another(seen[-1]))
    page.keyboard.press("Escape")
    assert len(set(seen)) == 4
    for clip in seen:
        page.locator(f'[data-clip="{clip}"]').click()
        page.wait_for_function("clip => vjepaStage.clip.id === clip", arg=clip)


def test_another_clip_keeps_the_mask(page):
    paint(page, (6, 0), (6, 6))
    painted = mask(page)
    page.locator('[data-clip="cockatoo"]').click()
    page.wait_for_function("() => vjepaStage.clip.id === 'bundled-cockatoo'")
    wait_for_answer(page)
    show(page, 0)
    assert (mask(page) == painted).all()
    np.testing.assert_array_equal(panel(page, "original"), pixels(page, ".film"))


def test_back_and_forward_lead_from_clip_to_clip(page):
    def wait_for(clip):
        page.wait_for_function("clip => vjepaStage.clip?.id === 'bundled-' + clip", arg=clip)
        page.wait_for_function("clip => location.search.includes(clip)", arg=clip)
        wait_for_answer(page)

    first = mask(page)
    page.locator('[data-clip="bigbuckbunny"]').click()
    wait_for("bigbuckbunny")
    page.get_by_role("button", name="New seeds").click()
    page.wait_for_function("() => location.search.includes('seed=4')")
    page.go_back()
    wait_for(catalogue.first_clip())
    assert (mask(page) == first).all()
    assert "seed=" not in page.url
    page.go_forward()
    wait_for("bigbuckbunny")
    assert "seed=4" in page.url
    page.go_back()
    wait_for(catalogue.first_clip())
    page.locator('[data-clip="bigbuckbunny"]').click()
    wait_for("bigbuckbunny")
    page.get_by_role("button", name="Timing").click()
    page.get_by_role("spinbutton", name="start, s").fill("0.5")
    page.keyboard.press("Enter")
    page.wait_for_function("() => vjepaStage.clip?.id === 'bundled-bigbuckbunny@0.5'")
