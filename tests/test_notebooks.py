"""The notebooks run as they stand, and are committed with the pictures that make them readable."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ids = [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_runs_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_is_committed_with_its_outputs(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(cell.execution_count for cell in cells)
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 5
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert path.stat().st_size < 900_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_every_question_has_an_answer_that_folds_out(path):
    cells = nbformat.read(path, as_version=4).cells
    words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    questions = re.split(r"^> \*\*Question \d+\.\*\*", words, flags=re.M)[1:]
    assert len(questions) >= 3
    for question in questions:
        (answer,) = re.findall(
            r"^<details><summary>Answer</summary>\n\n(.+?)\n\n</details>$", question, re.M | re.S
        )
        assert len(answer.split()) > 20
