"""Short pretraining runs side by side: `python benchmarks/compare_recipes.py`.

Every recipe trains the bundled model's shape on the same clips of half the frames, and is judged by
frozen probes beside random weights, and by its spread and rank: a falling loss says nothing. Writes
assets/demo/recipes.json, row by row, and prints it; runs and rows that are there are kept.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from vjepa import checkpoint, pixels
from vjepa.analysis.probe import evaluate
from vjepa.config import PRESETS
from vjepa.data.sources import open_source, store
from vjepa.pretrain import PretrainConfig, pretrain

LEVELS = (0, 1, 2, 3, 4)
TRIAL = replace(PRESETS["demo"], num_frames=8)
SHAPES = {"trial": TRIAL, "trial-one-block": replace(TRIAL, levels=1)}
RECIPES = {
    "as published": {"preset": "trial-one-block", "objective": "features", "future": 0.0},
    "targets of all blocks": {"objective": "features", "future": 0.0},
    "visible tokens too": {"objective": "dense", "future": 0.0},
    "visible tokens, future masks": {"objective": "dense", "future": 0.5},
    "the same, learning rate 1.2e-3": {"objective": "dense", "future": 0.5, "lr": 1.2e-3},
    "the same, momentum from .99": {"objective": "dense", "future": 0.5, "ema": (0.99, 0.9995)},
    "pixel prediction": {"objective": "pixels", "future": 0.0},
}
"""What each changes in the defaults of `PretrainConfig`."""


def clips(folder: Path, count: int) -> Path:
    """The file of training clips, drawn once."""
    path = folder / f"clips-{count}.npy"
    if not path.is_file():
        source = open_source("world", TRIAL, levels=LEVELS, device=torch.device("cpu"))
        store(source, path, count, seed=1)
    return path


def run(name: str, folder: Path, data: Path, steps: int) -> dict:
    """Trains a recipe, or goes on with it, and probes what it learned."""
    out = folder / name.replace(" ", "-").replace(",", "")
    settings = {"preset": "trial", "warmup": 100, "max_targets": 48, **RECIPES[name]}
    resume = (out / "last.pt").is_file()
    config = PretrainConfig(out=out, data=str(data), steps=steps, resume=resume, **settings)
    trained = pretrain(config)
    load = pixels.load if config.objective == "pixels" else checkpoint.load
    rows = evaluate(
        load(trained),
        ["appearance", "motion", "location"],
        ["linear", "knn", "attentive"],
        level=1,
        train_clips=2400,
        test_clips=1200,
        seeds=(0,),
        cache=folder / "probes",
    )
    health = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    kept = {key: health[key] for key in ("step", "spread", "rank", "clips_per_second")}
    probes = {f"{row['task']}, {row['probe']}": summary(row) for row in rows}
    return {"recipe": name, "config": asdict(config), **kept, "probes": probes}


def summary(row: dict) -> dict[str, float]:
    """Scores of the model and of random weights, in percent."""
    random = row["baselines"]["random"]["mean"]
    return {"model": 100 * row["accuracy"]["mean"], "random": 100 * random}


def main() -> None:
    """Runs what is not there yet, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=6144)
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--out", type=Path, default=checkpoint.BUNDLED["demo"].parent)
    options = parser.parse_args()
    PRESETS.update(SHAPES)
    path = options.out / "recipes.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    data = clips(options.runs, options.clips)
    for name in options.recipes:
        if any((row["recipe"], row["step"]) == (name, options.steps) for row in rows):
            continue
        rows.append(run(name, options.runs, data, options.steps))
        print(json.dumps(rows[-1], default=str), flush=True)
        path.write_text(json.dumps(rows, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
