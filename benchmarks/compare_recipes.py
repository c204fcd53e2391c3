"""Short pretraining runs side by side: `python benchmarks/compare_recipes.py`.

Every recipe trains the bundled model's shape on the same clips of half the frames, and is judged by
what its predictions tell of hidden pixels, by frozen probes beside random weights, and by its
spread and rank: a falling loss says nothing. Writes assets/demo/recipes.json, row by row, and
prints it; runs and rows that are there are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor

from vjepa import checkpoint
from vjepa.analysis.probe import probe_world
from vjepa.beginning import begin
from vjepa.config import SHAPES
from vjepa.data.clips import normalize
from vjepa.data.sources import open_source, store
from vjepa.masks import draw_masks
from vjepa.model import VJEPA
from vjepa.pretrain import pretrain
from vjepa.recipes import PretrainConfig
from vjepa.tokens import patchify, take
from vjepa.world.world import World

LEVELS = (0, 1, 2, 3, 4)
TRIAL = replace(SHAPES["demo"], num_frames=8)
TRIALS = {"trial": TRIAL, "trial-one-block": replace(TRIAL, target_layers=1)}
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
    model = checkpoint.load(pretrain(config, *begin(config)))
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
    rows = probe_world(
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


BATCH = 32
TARGETS = 24
"""Hidden tokens of each clip and mask."""
FUTURE = 1 / 3
"""Share of long-range masks that hide the future."""
PENALTY = 30.0


@dataclass(frozen=True)
class Readout:
    """PSNR of hidden pixels read out of features, in dB.

    Attributes:
        predicted: from the predictor's.
        true: from the target encoder's.
        nothing: the mean tubelet.
    """

    predicted: float
    true: float
    nothing: float


def pixel_readout(
    model: VJEPA,
    train: UInt8[Tensor, "B T H W 3"],
    test: UInt8[Tensor, "C T H W 3"],
    *,
    generator: Generator,
) -> Readout:
    """Fits a ridge regression on some clips and scores it on others, behind masks of both types.

    Args:
        model: frozen.
        train, test: RGB frames, at least 32 clips each.
        generator: of the masks.
    """
    fitted, scored = _examples(model, train, generator), _examples(model, test, generator)
    pixels, hidden = fitted["pixels"], scored["pixels"]
    guesses = {"nothing": np.broadcast_to(pixels.mean(0), hidden.shape)}
    for name in ("predicted", "true"):
        ridge = make_pipeline(StandardScaler(), Ridge(PENALTY)).fit(fitted[name], pixels)
        guesses[name] = ridge.predict(scored[name])
    return Readout(**{name: _psnr(guess, hidden) for name, guess in guesses.items()})


@torch.no_grad()
def _examples(model: VJEPA, frames: Tensor, generator: Generator) -> dict[str, np.ndarray]:
    """Hidden tokens, one row each: their predicted and true features, and their pixels, 0..1."""
    rows = [
        row
        for batch in frames.split(BATCH)
        for row in _batch_examples(model, batch.to(model.device), generator)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _batch_examples(
    model: VJEPA, frames: Tensor, generator: Generator
) -> Iterator[dict[str, np.ndarray]]:
    clips = normalize(frames)
    targets = model.target_features(clips)
    pixels = patchify(frames.permute(0, 4, 1, 2, 3) / 255, model.config)
    for mask in draw_masks(model.grid, len(frames), TARGETS, generator, future=FUTURE):
        place = mask.to(model.device)
        context = model.encode_context(clips, place.context_idx)
        predicted = model.predict(context, place.context_idx, place.target_idx, place.mask_type)
        rows = {
            "predicted": predicted,
            "true": take(targets, place.target_idx),
            "pixels": take(pixels, place.target_idx),
        }
        yield {name: x.flatten(0, 1).float().cpu().numpy() for name, x in rows.items()}


def _psnr(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((guess - truth) ** 2)))


def main() -> None:
    """Runs what is not there yet, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--trained", type=int, default=25_600, help="clips that each trains on")
    parser.add_argument("--clips", type=int, default=6144, help="different ones")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--out", type=Path, default=checkpoint.BUNDLED["demo"].parent)
    options = parser.parse_args()
    SHAPES.update(TRIALS)
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
