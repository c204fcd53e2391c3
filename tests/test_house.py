"""What the documents promise about the house is so, and the checks that tests rely on are on."""

import ast
import re
from collections import Counter
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from benchmarks import reach
from vjepa.data.clips import bundled_clips
from vjepa.reading.timing import frame_indices

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def modules():
    """Our files, but those whose name every package has."""
    return [
        path
        for package in reach.PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not path.stem.startswith("__")
    ]


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
    listed = set(re.findall(r"^  ([\w/]+\.py)", section, re.M))
    home = ROOT / package
    assert listed == {p.relative_to(home).as_posix() for p in modules() if home in p.parents}


def test_no_name_stands_for_two_things():
    files = Counter(path.name for path in modules())
    assert {name for name, count in files.items() if count > 1} <= {"page.py", "charts.py"}
    classes = Counter(
        node.name
        for path in modules()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in classes.items() if count > 1]


def test_the_core_is_read_in_one_sitting():
    lines = {name: reach.lines_of_code(ROOT / "vjepa" / f"{name}.py") for name in reach.CORE}
    assert len(lines) == 6
    assert sum(lines.values()) <= 750, lines


@pytest.mark.parametrize(
    ("entry", "most"),
    [
        ("VJEPA", 6),
        ("load", 13),
        ("pretrain", 20),
        ("Explorer", 14),
        ("decoder train", 25),
        ("page Mask and decode", 36),
    ],
)
def test_a_story_is_told_in_few_files(entry, most):
    files = reach.reached(reach.ENTRIES[entry])
    assert len(files) <= most, files


def test_what_is_reached_is_what_is_used(tmp_path, monkeypatch):
    package = tmp_path / "vjepa"
    package.mkdir()
    (package / "a.py").write_text("from vjepa import b, c\n\ndef f():\n    return b.g()\n")
    (package / "b.py").write_text("def g():\n    from vjepa.d import h\n\n    return h\n")
    (package / "c.py").write_text("X = 1\n")
    (package / "d.py").write_text('"""Words."""\n\n\ndef h():\n    """Words."""  # and more\n')
    monkeypatch.setattr(reach, "ROOT", tmp_path)
    for cached in (reach._file, reach._names, reach._definitions):
        cached.cache_clear()
    assert reach.reached(("vjepa.a", "f")) == ["vjepa.a", "vjepa.b", "vjepa.d"]
    assert reach.lines_of_code(package / "d.py") == 1
    for cached in (reach._file, reach._names, reach._definitions):
        cached.cache_clear()


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
