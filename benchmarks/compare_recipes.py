"""Short pretraining runs side by side: `python benchmarks/compare_recipes.py`.

Every recipe trains the bundled model's shape on the same clips of half the frames, and is judged by
what its predictions tell of hidden pixels, by frozen probes beside random weights, and by its
spread and rank: a falling loss says nothing. Writes assets/demo/recipes.json, row by row, and
prints it; runs and rows that are there are kept.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Generator

from vjepa import checkpoint
from vjepa.analysis.probe import evaluate
from vjepa.analysis.readout import Readout, pixel_readout
from vjepa.config import PRESETS
from vjepa.data.sources import open_source, store
from vjepa.data.world import World
from vjepa.model import VJEPA
from vjepa.pretrain import PretrainConfig, pretrain

LEVELS = (0, 1, 2, 3, 4)
TRIAL = replace(PRESETS["demo"], num_frames=8)
SHAPES = {"trial": TRIAL, "trial-one-block": replace(TRIAL, levels=1)}
ADAMW = {"optimizer": "adamw", "lr": 6e-4}
RECIPES = {
    "as published": {"preset": "trial-one-block", "objective": "features", "future": 0.0, **ADAMW},
    "targets of all blocks": {"objective": "features", "future": 0.0, **ADAMW},
    "visible tokens too": {"future": 0.0, **ADAMW},
    "and future masks": ADAMW,
    "and Muon": {},
    "and batches of 16": {"batch_size": 16},
}
"""What each changes in the defaults of `PretrainConfig`; "and ..." adds to the one before."""
READ = {"train": 128, "test": 64}
"""Clips of each level for the read-out."""


def clips(folder: Path, count: int) -> Path:
    """The file of training clips, drawn once."""
    path = folder / f"clips-{count}.npy"
    if not path.is_file():
        source = open_source("world", TRIAL, levels=LEVELS, device=torch.device("cpu"))
        store(source, path, count, seed=1)
    return path


def run(name: str, folder: Path, data: Path, trained: int) -> dict:
    """Trains a recipe, or goes on with it, and judges what it learned."""
    out = folder / name.replace(" ", "-")
    settings = {"preset": "trial", "batch_size": 32, "warmup": 100, "max_targets": 48}
    settings |= RECIPES[name]
    settings["steps"] = trained // settings["batch_size"]
    resume = (out / "last.pt").is_file()
    config = PretrainConfig(out=out, data=str(data), resume=resume, **settings)
    model = checkpoint.load(pretrain(config))
    health = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "recipe": name,
        "trained": trained,
        **{key: health[key] for key in ("spread", "rank", "clips_per_second")},
        "pixels": asdict(readout(model)),
        "probes": probe(model, folder / "probes"),
        "config": asdict(config),
    }


def readout(model: VJEPA) -> Readout:
    """What its predictions tell of the hidden pixels of held-out clips, all levels alike."""
    generator = Generator().manual_seed(0)
    frames = {
        split: torch.cat(
            [
                World(level, TRIAL.image_size, TRIAL.num_frames, split).sample(n, generator).frames
                for level in LEVELS
            ]
        )
        for split, n in READ.items()
    }
    return pixel_readout(model, frames["train"], frames["test"], generator=generator)


def probe(model: VJEPA, cache: Path) -> dict[str, dict[str, float]]:
    """Scores of the model and of random weights by task and probe, in percent."""
    rows = evaluate(
        model,
        ["appearance", "motion", "location"],
        ["linear", "knn"],
        level=1,
        train_clips=2400,
        test_clips=1200,
        seeds=(0,),
        cache=cache,
    )
    return {
        f"{row['task']}, {row['probe']}": {
            "model": 100 * row["accuracy"]["mean"],
            "random": 100 * row["baselines"]["random"]["mean"],
        }
        for row in rows
    }


def main() -> None:
    """Runs what is not there yet, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--trained", type=int, default=25_600, help="clips that each trains on")
    parser.add_argument("--clips", type=int, default=6144, help="different ones")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--out", type=Path, default=checkpoint.BUNDLED["demo"].parent)
    options = parser.parse_args()
    PRESETS.update(SHAPES)
    path = options.out / "recipes.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    data = clips(options.runs, options.clips)
    for name in options.recipes:
        if any((row["recipe"], row["trained"]) == (name, options.trained) for row in rows):
            continue
        rows.append(run(name, options.runs, data, options.trained))
        print(json.dumps(rows[-1], default=str), flush=True)
        path.write_text(json.dumps(rows, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
