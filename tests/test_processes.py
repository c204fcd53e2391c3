"""Runs of several processes, killed and resumed, end where an undisturbed one does."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_killed_and_resumed_runs_of_one_and_two_processes_end_alike():
    words = "benchmarks/kill_and_resume.py --processes 1 2 --kills 2 --steps 12".split()
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    for found in json.loads(done.stdout).values():
        assert found["lines_of_metrics"] == 6
        assert found["largest_difference"] < 1e-4
