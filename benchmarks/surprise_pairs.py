"""Does the impossible surprise more than the possible? `python benchmarks/surprise_pairs.py`.

Scores the bundled model on held-out scenes of the drawn world, prints the scores as one line of
JSON and writes them to assets/demo/surprise.json, from where the app shows them. Some minutes.
With `--world physics --scenes 60` on scenes of the physics world, for surprise_physics.json.
"""

from __future__ import annotations

import argparse
import json

from torch import Generator

import vjepa
from vjepa.analysis.surprise import HORIZON, MASK_TYPE, score_surprise
from vjepa.checkpoint import BUNDLED

FILES = {"world": "surprise.json", "physics": "surprise_physics.json"}


def write(world: str, scenes: int, seed: int) -> dict:
    """Scores the model and writes the file."""
    generator = Generator().manual_seed(seed)
    scores = {
        "scenes": scenes,
        "seed": seed,
        "horizon": HORIZON,
        "mask_type": MASK_TYPE,
        "cases": score_surprise(vjepa.load("demo"), scenes, generator, world),
    }
    path = BUNDLED["demo"].parent / FILES[world]
    path.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    return scores


def main() -> None:
    """Writes the scores and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", choices=list(FILES), default="world")
    parser.add_argument("--scenes", type=int, default=200, help="of each kind; two pairs in each")
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(write(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
