"""Scores the bundled model and writes its card: `python benchmarks/score_demo.py`.

Decoding on held-out world clips and on the two untrained real videos. Every number of
assets/demo/card.json comes from here; what probes say is made by probe_table.py.
"""

from __future__ import annotations

import argparse
import json

from decoder import Explorer
from decoder.evaluate import evaluate
from vjepa.checkpoint import BUNDLED

LEVELS = (0, 1, 2, 3, 4)


def score(world_clips: int, real_clips: int) -> dict:
    """Decoding, as the card keeps it."""
    explorer = Explorer.load("demo")
    world = evaluate(explorer, "world", world_clips, levels=LEVELS, seed=0, steps=4)
    real = evaluate(explorer, "real", real_clips, levels=LEVELS, seed=0, steps=4)
    folder = BUNDLED["demo"].parent
    return {
        "model": json.loads((folder / "model" / "training.json").read_text()),
        "decoder": json.loads((folder / "decoder" / "training.json").read_text()),
        "prediction_error": world["prediction_error"],
        "scores": {"world": world, "real": real},
    }


def main() -> None:
    """Writes the card and prints it as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world-clips", type=int, default=200)
    parser.add_argument("--real-clips", type=int, default=32)
    card = score(**vars(parser.parse_args()))
    path = BUNDLED["demo"].parent / "card.json"
    path.write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card))


if __name__ == "__main__":
    main()
