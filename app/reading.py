"""Page "Reading": the source of a part, or a notebook, where links on the pages lead to.

Only the project's own files are shown: those of the two libraries, and the notebooks.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import streamlit as st

from vjepa.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("vjepa/**/*.py", "decoder/**/*.py", "notebooks/*.ipynb")
FOLDED = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.S)
"""What folds out in a notebook: its title, and its words."""


def page() -> None:
    """The file that the address names, or the list of what there is.

    Raises:
        InputError: there is no such file to read here.
    """
    name = st.query_params.get("file", "")
    files = readable()
    if not name:
        st.markdown("\n".join(f"- [{one}](reading?file={one})" for one in files))
    elif name not in files:
        raise InputError("There is no such file to read here: go back, and follow a link.")
    else:
        st.markdown(f"**{name}**")
        show(files[name])


@st.cache_data(show_spinner=False)
def readable() -> dict[str, Path]:
    """What can be read, by its path in the project."""
    paths = sorted(path for pattern in SHOWN for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix(): path for path in paths}


def show(path: Path) -> None:
    """A source file as it is, a notebook cell by cell."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        st.code(text, language="python", line_numbers=True)
        return
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            show_words(source)
        elif source:
            st.code(source, language="python")
        for output in cell.get("outputs", ()):
            show_output(output)


def show_words(text: str) -> None:
    """A notebook's words; what folds out there folds out here, and links lead to this page."""
    text = re.sub("^#", "##", text, flags=re.M)  # below the page's own heading
    text = re.sub(r"\]\((\w+\.ipynb)\)", r"](reading?file=notebooks/\1)", text)
    text = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", text)  # what is not shown here
    words, *folded = FOLDED.split(text)
    st.markdown(words)
    for title, inside, after in zip(folded[::3], folded[1::3], folded[2::3], strict=True):
        with st.expander(title):
            st.markdown(inside)
        st.markdown(after)


def show_output(output: dict) -> None:
    """What a cell printed or drew."""
    found = output.get("data", {})
    if picture := found.get("image/jpeg") or found.get("image/png"):
        st.image(base64.b64decode(picture), alt="what the code above draws", width="content")
    elif text := output.get("text") or found.get("text/plain"):
        st.text("".join(text))
