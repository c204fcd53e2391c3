"""What the documents promise about the house is so, and the checks that tests rely on are on."""

import re
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from vjepa.data.clips import bundled_clips, frame_indices

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_annotations_are_checked():
    from decoder.media import mp4_bytes

    with pytest.raises(jaxtyping.TypeCheckError):
        mp4_bytes(np.zeros((4, 16, 16), np.uint8), 8)
    with pytest.raises(jaxtyping.TypeCheckError):
        frame_indices("ten", 30, 16, 0, 7.5)


@pytest.mark.parametrize("package", ["vjepa", "decoder", "app"])
def test_readme_tree_lists_every_module(package):
    tree = re.search(r"## What is where\n+```\n(.*?)```", README, re.S)[1]
    section = re.search(rf"^{package}/.*?(?=^\S|\Z)", tree, re.S | re.M)[0]
    listed = set(re.findall(r"(\w+)\.py", section))
    there = {p.stem for p in (ROOT / package).rglob("*.py") if not p.stem.startswith("__")}
    assert listed == there


def test_every_clip_has_its_source_and_licence():
    rows = (ROOT / "assets" / "clips" / "README.md").read_text()
    for name in bundled_clips():
        assert f"`{name}`" in rows


def test_the_readme_s_example_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names: dict = {}
    exec(example, names)
    assert names["features"].shape == (1, 392, 192)
    assert names["result"].frames.shape == (4, 16, 112, 112, 3)
