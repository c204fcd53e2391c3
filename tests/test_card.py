"""The tables of the model card and of the README are those of the files beside the card."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("write_card", ROOT / "benchmarks" / "write_card.py")
write_card = importlib.util.module_from_spec(spec)
spec.loader.exec_module(write_card)


@pytest.mark.parametrize("path", write_card.FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_what_was_measured(path):
    text = path.read_text()
    assert write_card.PLACE.search(text)
    assert write_card.filled(text) == text


def test_a_table_that_is_changed_by_hand_is_made_anew():
    text = (ROOT / "README.md").read_text()
    assert write_card.filled(text.replace("| PSNR, dB | ", "| PSNR, dB | 1")) == text
