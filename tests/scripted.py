"""The app without a browser: its first page, and words for what a visitor does and sees."""

from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from app.workbench import figures
from app.workbench.models import DEMO

ROOT = Path(__file__).parents[1]
GRID = DEMO.config.grid


def main_page() -> AppTest:
    """The app as a new visitor has it, before it ran."""
    return AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)


def numbers(page: AppTest) -> str:
    """The line of numbers, or the sentence in its place."""
    return next(m.value for m in page.markdown if "hidden" in m.value or ":material/" in m.value)


def paint(page: AppTest, mask: np.ndarray, **changes) -> AppTest:
    """Runs the page as after a stroke in the browser."""
    state = page.session_state["visitor"]
    stroke = {"clip": state.address.id, "rev": state.rev, "bits": figures.to_bits(mask)}
    page.session_state["painter"] = {"mask": stroke | changes}
    return page.run()


def block(rows: slice) -> np.ndarray:
    """A mask that hides rows of patches through all time."""
    mask = np.zeros(GRID, bool)
    mask[:, rows] = True
    return mask
