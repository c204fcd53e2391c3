"""Can the world's tasks be learned at all? `python benchmarks/supervised.py`.

An encoder of the bundled model's width and depth is trained from scratch with the labels, on clips
that are drawn while it learns, at every level of the world, and tested on held-out objects and
backdrops, and on new clips of those that it knows. What it does not reach, no frozen features can
be blamed for. Prints one JSON object a level; with --out, levels that are there are kept, so an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from tqdm import trange

from vjepa import masks
from vjepa.analysis.attentive import AttentiveProbe
from vjepa.analysis.intervals import interval
from vjepa.checkpoint import default_device, default_dtype
from vjepa.config import preset
from vjepa.data.clips import normalize
from vjepa.training import muon, step_generator, warmup_cosine
from vjepa.transformer import Encoder
from vjepa.world.world import CATEGORIES, LEVELS, MOTIONS, World, WorldBatch

TASKS = {"appearance": CATEGORIES, "motion": MOTIONS}
BATCH, LR, WARMUP, DECAY, SEED = 32, 3e-3, 100, 0.05, 0
SPLITS = {"held_out": "test", "known": "train"}
"""Objects and backdrops of the test clips."""
DROPPED = 0.5
"""Share of the tokens that a training step leaves out: half the work, and less overfitting."""
SHAPE = replace(preset("demo"), image_size=64, patch_size=8, num_frames=8)
"""Smaller clips than the bundled model's, of the same scenes: a quarter of the time."""


class Supervised(nn.Module):
    """The encoder with an attentive probe for each task, none of it frozen."""

    def __init__(self) -> None:
        super().__init__()
        dim = SHAPE.embed_dim
        self.encoder = Encoder(SHAPE)
        self.probes = nn.ModuleDict(
            {task: AttentiveProbe(dim, dim // 64, len(names)) for task, names in TASKS.items()}
        )

    def forward(self, frames: Tensor, kept: Tensor | None = None) -> dict[str, Tensor]:
        """Logits by task, from RGB frames and the tokens that are looked at."""
        features = self.encoder(normalize(frames), kept)
        return {task: probe(features) for task, probe in self.probes.items()}


def labels(batch: WorldBatch) -> dict[str, Tensor]:
    """The right answers by task."""
    return {task: getattr(batch, task) for task in TASKS}


def train(level: int, steps: int) -> Supervised:
    """A model that learned from `steps` batches, no clip of which comes twice."""
    device = default_device()
    torch.manual_seed(SEED)
    model = Supervised().to(device)
    world = World(level, SHAPE.image_size, SHAPE.num_frames, device=str(device))
    optimizer = muon(model, LR, DECAY)
    for step in trange(steps, desc=f"level {level}", unit="step"):
        shape = {"warmup": WARMUP, "start": 0.0, "peak": LR, "end": 0.0}
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(step + 1, steps, **shape)
        batch = world.sample(BATCH, step_generator(SEED, step, device))
        kept = keep(step_generator(SEED, step)).to(device)
        with computing(device):
            answers = model(batch.frames, kept)
        right = labels(batch)
        sum(F.cross_entropy(answers[task].float(), right[task]) for task in TASKS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def computing(device: torch.device) -> torch.autocast:
    """In bfloat16 where the machine computes in it; emulated it takes a hundred times as long."""
    fast = default_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def keep(generator: Generator) -> Tensor:
    """Tokens that a step looks at, others for every clip: (B, K)."""
    hidden = [masks.random(SHAPE.grid, DROPPED, generator=generator) for _ in range(BATCH)]
    return torch.stack([(~one.flatten()).nonzero()[:, 0] for one in hidden])


@torch.no_grad()
def test(model: Supervised, level: int, clips: int, split: str) -> dict[str, dict]:
    """Accuracy by task, with a 95 % interval over clips that training did not show."""
    device = default_device()
    world = World(level, SHAPE.image_size, SHAPE.num_frames, split, device=str(device))
    right = {task: [] for task in TASKS}
    for number in range(clips // BATCH):
        batch = world.sample(BATCH, step_generator(SEED + 1, number, device))
        with computing(device):
            answers = model(batch.frames)
        for task, true in labels(batch).items():
            right[task].append((answers[task].argmax(-1) == true).float().cpu())
    return {task: interval(torch.cat(parts).numpy()) for task, parts in right.items()}


def measure(level: int, steps: int, clips: int) -> dict:
    """One level's row."""
    begun = time.monotonic()
    model = train(level, steps)
    scores = {name: test(model, level, clips, split) for name, split in SPLITS.items()}
    seconds = round(time.monotonic() - begun)
    return {"level": level, "name": LEVELS[level], "steps": steps, "seconds": seconds, **scores}


def main() -> None:
    """Trains and tests at every level."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", type=int, nargs="+", default=range(len(LEVELS)))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--test-clips", type=int, default=960)
    parser.add_argument("--out", type=Path, help="a .json file of rows")
    options = parser.parse_args()
    there = options.out is not None and options.out.is_file()
    rows = json.loads(options.out.read_text()) if there else []
    for level in options.levels:
        if any((row["level"], row["steps"]) == (level, options.steps) for row in rows):
            continue
        rows.append(measure(level, options.steps, options.test_clips))
        print(json.dumps(rows[-1]), flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
