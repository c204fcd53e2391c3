"""Scores the bundled model and writes its card: `python benchmarks/score_demo.py`.

Decoding on held-out world clips and on the two untrained real videos, and frozen probes against
random weights at several difficulties. Every number of assets/demo/card.json comes from here.
"""

from __future__ import annotations

import argparse
import json

import vjepa
from decoder import Explorer
from decoder.evaluate import evaluate
from vjepa.analysis import probe
from vjepa.checkpoint import BUNDLED

LEVELS = (0, 1, 2, 3, 4)
PROBE_LEVELS = (0, 1, 3)
TASKS = ("appearance", "motion")
PROBES = ("linear", "knn")  # the others take longer: see probe_table.py


def score(world_clips: int, real_clips: int, train_clips: int, test_clips: int) -> dict:
    """Decoding and probes, as the card keeps them."""
    explorer = Explorer.load("demo")
    world = evaluate(explorer, "world", world_clips, levels=LEVELS, seed=0, steps=4)
    real = evaluate(explorer, "real", real_clips, levels=LEVELS, seed=0, steps=4)
    probes = []
    for level in PROBE_LEVELS:
        probes += probe.evaluate(
            vjepa.load("demo"),
            TASKS,
            PROBES,
            level=level,
            train_clips=train_clips,
            test_clips=test_clips,
            seeds=(0,),
        )
    folder = BUNDLED["demo"].parent
    return {
        "model": json.loads((folder / "model" / "training.json").read_text()),
        "decoder": json.loads((folder / "decoder" / "training.json").read_text()),
        "prediction_error": world["prediction_error"],
        "scores": {"world": world, "real": real, "probes": probes},
    }


def main() -> None:
    """Writes the card and prints it as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world-clips", type=int, default=200)
    parser.add_argument("--real-clips", type=int, default=32)
    parser.add_argument("--train-clips", type=int, default=2000)
    parser.add_argument("--test-clips", type=int, default=1200)
    card = score(**vars(parser.parse_args()))
    path = BUNDLED["demo"].parent / "card.json"
    path.write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card))


if __name__ == "__main__":
    main()
