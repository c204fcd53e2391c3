"""The page "Learn" in a browser: every lesson with its figure and answer, and a live training."""

import re

import pytest

from app.learn.page import LESSONS


@pytest.fixture
def page(tab):
    return tab


def test_every_lesson_has_its_figure_and_its_answer_and_is_linked(page, address):
    page.goto(f"{address}/learn")
    for number, (name, lesson) in enumerate(LESSONS.items(), start=1):
        page.get_by_role("radio", name=f"{number}. {lesson.title}").click()
        inside = page.locator(f".st-key-lesson_{name}")
        page.wait_for_timeout(1000)
        page.wait_for_selector('[data-stale="true"]', state="detached")  # of the lesson before
        inside.locator(".onward").wait_for()
        inside.locator(".js-plotly-plot").first.wait_for()
        answer = inside.get_by_test_id("stExpanderDetails")
        assert not answer.is_visible()
        inside.get_by_test_id("stExpander").locator("summary").click()
        answer.wait_for()
        assert len(answer.inner_text()) > 200
        assert not page.get_by_test_id("stAlert").count()
        if number > 1:
            page.wait_for_function("name => location.search.includes(`lesson=${name}`)", arg=name)


def test_a_click_on_a_token_shows_what_goes_in_there(page, address):
    page.goto(f"{address}/learn?lesson=predictor")
    page.get_by_text("mask token goes in").wait_for()
    plot = page.locator(".st-key-lesson_predictor .js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    box = plot.locator(".nsewdrag").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 14, box["y"] + box["height"] / 14)  # a corner: seen
    page.get_by_text("its features go in").wait_for()
    page.wait_for_function('() => location.search.includes("at=")')


def test_a_training_is_shown_and_ends_with_its_verdict(page, address):
    page.goto(f"{address}/learn?lesson=collapse&stop=False")
    page.get_by_role("button", name="Train").click()
    page.get_by_test_id("stProgress").wait_for()
    page.get_by_text(
        re.compile("(The features (hold|sink|have collapsed)|Too early to tell): spread")
    ).wait_for()
    page.locator(".st-key-features .js-plotly-plot").first.wait_for()  # beside one that goes
