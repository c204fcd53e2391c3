"""The pages are built without a warning, no link is broken, and nothing comes from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, built as `make docs` builds them."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # of the theme's, about its successor
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Links(HTMLParser):
    """What a page links to, what it fetches, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.linked, self.fetched, self.ids = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.update(filter(None, (given.get("id"), given.get("name"))))
        if tag == "a" and given.get("href"):
            self.linked.append(given["href"])
        elif tag in ("script", "img", "iframe") and given.get("src"):
            self.fetched.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.fetched.append(given["href"])


def test_every_link_leads_somewhere(site):
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 15
    broken = []
    for page, links in pages.items():
        for link in (*links.linked, *links.fetched):
            parts = urlsplit(link)
            if parts.scheme or link.startswith("data:"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages[target].ids if target in pages else None
            if not target.exists() or (parts.fragment and known and parts.fragment not in known):
                broken.append((page.name, link))
    assert not broken


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        outside = [
            link for link in Links(page).fetched if urlsplit(link).scheme in ("http", "https")
        ]
        assert not outside, page
        assert "mathjax" not in page.read_text().lower()
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.findall(r"url\(['\"]?https?:", styles) and "@import" not in styles


def test_notebooks_formulas_answers_and_docstrings_are_there(site):
    collapse = (site / "notebooks/02_why_it_does_not_collapse.html").read_text()
    formulas = re.findall(r"<math.*?</math>", collapse, re.S)
    assert len(formulas) > 10 and "\\" not in "".join(formulas)
    assert collapse.count("<details") >= 4
    assert re.search(r'<img[^>]+src="02_why[^"]+\.jpe?g"', collapse)
    reference = (site / "api/vjepa.html").read_text()
    assert "Feature prediction from video" in reference and "multiblock" in reference
    assert "Explorer" in (site / "api/decoder.html").read_text()
