"""The page "Reading", and the links that lead there."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import reading
from app.mask_and_decode import way

ROOT = Path(__file__).parents[1]
PAGE = "from app import reading; from app.workbench.bench import told_in_a_sentence\n"
PAGE += "with told_in_a_sentence():\n    reading.page()"


def opened(file: str) -> AppTest:
    page = AppTest.from_string(PAGE, default_timeout=30)
    page.query_params["file"] = file
    return page.run()


def test_the_way_s_links_lead_to_files_that_can_be_read():
    links = [part.source for part in way.WAY]
    links += [link.partition("file=")[2] for link in way.LINKS.values() if "file=" in link]
    assert links and set(links) <= set(reading.readable())


def test_the_tour_is_short_and_the_parts_are_told_in_two_sentences():
    assert len(way.TOUR) <= 5
    for part in way.WAY:
        assert 2 <= len(re.findall(r"[.?](?: |$)", part.told)) <= 3


def test_a_source_is_shown_as_it_is():
    page = opened("vjepa/masks.py")
    assert page.code[0].value == (ROOT / "vjepa/masks.py").read_text().rstrip("\n")


def test_a_notebook_is_shown_with_its_words_and_its_code():
    page = opened("notebooks/01_what_is_predicted.ipynb")
    assert not page.exception
    assert any(cell.value.startswith("## What is predicted?") for cell in page.markdown)
    assert any("import decoder" in cell.value for cell in page.code)
    assert len(page.get("image")) >= 5


def test_a_notebook_s_answers_fold_out_and_its_links_lead_on():
    page = opened("notebooks/02_why_it_does_not_collapse.ipynb")
    assert len(page.expander) == 4 and all(one.markdown[0].value for one in page.expander)
    words = "".join(cell.value for cell in page.markdown)
    assert "(reading?file=notebooks/03_pretraining_from_scratch.ipynb)" in words
    assert "../" not in words and "<details" not in words


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "vjepa", "x", "app/main.py"])
def test_nothing_else_is_read(file):
    page = opened(file)
    assert "no such file" in page.warning[0].value
    assert not page.code
