"""Does the lesson's small training collapse? `python benchmarks/collapse.py`.

Trains every combination of its safeguards with ten seeds, prints what came of them and writes it to
assets/collapse.json, from where the app shows it. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter
from pathlib import Path

import torch

from vjepa.analysis.collapse import NAMES, Safeguards, trained, verdict

FILE = Path(__file__).resolve().parents[1] / "assets" / "collapse.json"


def train_all(on: tuple[bool, ...], seeds: int) -> dict:
    """What came of one combination: how many trainings ended how, and each one's end."""
    began = time.perf_counter()
    runs = [list(trained(Safeguards(*on), seed)) for seed in range(seeds)]
    ends = Counter(map(verdict, runs))
    seconds = (time.perf_counter() - began) / seeds
    told = ", ".join(name if there else f"no {name}" for name, there in zip(NAMES, on, strict=True))
    print(f"{told}: {dict(ends)}, {seconds:.0f} s each", flush=True)
    return {
        "in_place": on,
        "ends": dict(ends.most_common()),
        **{
            name: [round(getattr(run[-1], name), 3) for run in runs]
            for name in ("loss", "spread", "rank")
        },
    }


def main() -> None:
    """Trains them all, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="trainings of each combination")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    found = [train_all(on, seeds) for on in itertools.product((True, False), repeat=len(NAMES))]
    FILE.write_text(json.dumps({"seeds": seeds, "trainings": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
