"""Runs of several processes, killed and resumed, end where an undisturbed one does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [("pretraining", "muon"), ("pretraining", "adamw"), ("decoder", "adamw"), ("probe", "adamw")],
)
def test_two_processes_killed_and_resumed_end_as_two_undisturbed(kind, optimizer):
    words = "benchmarks/kill_and_resume.py --processes 2 --kills 2 --steps 8".split()
    words += ["--kinds", kind, "--optimizer", optimizer]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    found = json.loads(done.stdout)[kind]["2"]
    assert len(found["resumed_from"]) == 2
    assert found["killed_and_calm"] == 0  # two summands: no order of theirs rounds differently
