"""Gathers what `make docs` turns into pages; mkdocs calls it (`hooks` of mkdocs.yml).

Files keep their places in the project, so that links between them lead where they lead on a code
host. Notebooks become Markdown with their stored outputs: nothing is run. Nothing is fetched, by
the build or by a page: formulas are MathML.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from html import unescape
from importlib import import_module
from pathlib import Path

from latex2mathml.converter import convert
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
READ = (
    *("README.md", "CONTRIBUTING.md", "LICENSE", "app/icon.svg"),
    "docs/*",
    *("assets/*/README.md", "assets/demo/*.svg", "assets/demo/cases/**/*"),
)
"""What is copied as it is, but for links to notebooks."""
PACKAGES = ("vjepa", "decoder")


def on_config(config):
    """Gathers all pages in a folder of their own, and has mkdocs read that."""
    folder = Path(tempfile.mkdtemp(prefix="pages-"))
    for pattern in READ:
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix != ".py":
                copy(path, folder / path.relative_to(ROOT))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        write_notebook(path, folder / "notebooks")
    for package in PACKAGES:
        write_reference(package, folder / "api")
    config.docs_dir = str(folder)
    return config


def on_page_content(html, **_):
    """Formulas as MathML, which browsers draw by themselves."""
    found = r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>'
    return re.sub(found, lambda match: formula(*match.groups()), html, flags=re.S)


def on_post_build(config):
    """The gathered files have been read."""
    shutil.rmtree(config.docs_dir)


def copy(source: Path, target: Path) -> None:
    """A file; in Markdown, links to notebooks lead to their pages."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".md":
        target.write_text(as_pages(source.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        shutil.copyfile(source, target)


def as_pages(text: str) -> str:
    """Links to notebooks lead to pages, and what folds out is Markdown inside."""
    text = re.sub(r"(\]\([^)\s]+)\.ipynb", r"\1.md", text)
    return text.replace("<details>", '<details markdown="1">')


def write_notebook(path: Path, folder: Path) -> None:
    """A notebook with its outputs, and its pictures beside it."""
    text, found = MarkdownExporter().from_filename(path)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in found["outputs"].items():
        own = f"{path.stem}_{name}"
        text = re.sub(
            rf"!\[\w*\]\({re.escape(name)}\)", f"![what the code above draws]({own})", text
        )
        (folder / own).write_bytes(picture)
    text = re.sub(r"```python\n.*?```", fold, text, count=1, flags=re.S)
    (folder / f"{path.stem}.md").write_text(as_pages(text), encoding="utf-8")


def fold(block: re.Match) -> str:
    """The first cell, which nobody reads first: imports, and how pictures are drawn."""
    return f"<details>\n<summary>Imports and helpers</summary>\n\n{block[0]}\n\n</details>"


def write_reference(package: str, folder: Path) -> None:
    """The public names of a package, each from its docstring."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    homes = import_module(package)._HOMES
    lines = [f"# {package}", "", import_module(package).__doc__ or ""]
    for name, home in homes.items():
        own = home if home.endswith(f".{name}") else f"{home}.{name}"
        lines += ["", f"::: {own}", "    options:", f"      heading: {package}.{name}"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{package}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def formula(kind: str, latex: str) -> str:
    """LaTeX as MathML: on a line of its own, or within one."""
    return convert(unescape(latex), display="block" if kind == "div" else "inline")
