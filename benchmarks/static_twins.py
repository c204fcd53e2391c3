"""Features or pixels, where much cannot be foreseen? `python benchmarks/static_twins.py`.

Twins learn from the same clips of the physics world, behind the same masks, with the same first
weights, optimizer and steps; one predicts features, as published, one pixels. Three pairs of them:
floor and walls as they are, and with static of two strengths, new noise in every frame. Each is
judged in the world that it knows, on held-out clips: what probes read with many labels and with
few, beside random weights; how much of its features is static, for which the pair of the most is
trained from two seeds; and whether what happens behind a screen surprises it when it is impossible.
Needs MuJoCo; goes on with what was broken off, and writes assets/baselines/static.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from tqdm import tqdm

from benchmarks.physics_trial import MASKS, SMALL
from vjepa import checkpoint
from vjepa.analysis import probe
from vjepa.analysis.features import FrozenModel, LabelledPhysics, encode
from vjepa.analysis.surprise import compare, mean_surprise
from vjepa.analysis.tasks import PHYSICS_TASKS
from vjepa.baselines import PixelPrediction, load_pixel_prediction, random_twin
from vjepa.beginning import begin
from vjepa.config import SHAPES
from vjepa.data.clips import normalize
from vjepa.formats.published import ASSETS
from vjepa.model import VJEPA, normalize_features
from vjepa.pretrain import pretrain
from vjepa.recipes import PretrainConfig
from vjepa.world.physics import PhysicsWorld
from vjepa.world.physics_store import store_frames
from vjepa.world.physics_violations import CASES, draw_pairs

SHAPES["twin"] = replace(SMALL, target_layers=1)
SIZE = SHAPES["twin"].image_size, SHAPES["twin"].num_frames
OBJECTIVES = ("features", "pixels")
LABELS = (1.0, 0.05)
PROBES = ("attentive", "linear")
UNSEEN = [kind for kind, hidden in CASES if hidden]
"""What can go wrong behind a screen."""
NOISY, KEPT = (0.2, 0.5), 48
"""Amounts of static that features are asked about, and how many clips are shown with them."""
DATA_SEED, SCENE_SEED = 31, 7
CLIPS, SHOWN = range(6), 6
"""Seeds of the clips on the picture, and which frame of them."""
Twins = dict[str, VJEPA | PixelPrediction]


def train(
    objective: str, static: float, options: argparse.Namespace, seed: int = 0
) -> VJEPA | PixelPrediction:
    """A twin, trained or found trained; of another seed are its first weights, masks and crops."""
    data, out = (options.runs / name for name in _names(objective, static, seed))
    if not data.is_file():
        world = PhysicsWorld(*SIZE, static=static)
        store_frames(world, data, options.clips, seed=DATA_SEED, processes=options.processes)
    config = PretrainConfig(
        out=out,
        data=str(data),
        preset="twin",
        objective=objective,
        seed=seed,
        steps=options.steps,
        lr=2e-3,
        warmup=100,
        ema=(0.99, 0.9995),
        resume=(out / "last.pt").is_file(),
        save_every=100,
        **MASKS["a part of the time"],
    )
    if not (out / "model").is_dir():
        pretrain(config, *begin(config))
    return _open(objective, out)


def _names(objective: str, static: float, seed: int = 0) -> tuple[str, str]:
    share = round(100 * static)
    return f"static-{share}.npy", f"{objective}-{share}" + (f"-{seed}" if seed else "")


def _open(objective: str, out: Path) -> VJEPA | PixelPrediction:
    load = load_pixel_prediction if objective == "pixels" else checkpoint.load
    model: nn.Module = load(out / "model")
    return model.float().eval().requires_grad_(False)


def beside_random(twins: Twins) -> dict[str, FrozenModel]:
    """Both twins and random weights, as probes call them."""
    features, pixels = (twins[objective] for objective in OBJECTIVES)
    return {"model": features, "pixel": pixels, "random": random_twin(features)}


def probed(twins: Twins, static: float, options: argparse.Namespace) -> list[dict]:
    """What probes read from the features of both twins and of random weights."""
    models = beside_random(twins)
    counts = {"train": options.train_clips, "test": options.test_clips}
    sets = (
        LabelledPhysics(split, count, SHAPES["twin"], options.processes, static=static)
        for split, count in counts.items()
    )
    tokens = [encode(models, clips, options.runs / "tokens") for clips in sets]
    tasks = list(PHYSICS_TASKS.values())
    return probe.compare(*tokens, tasks, PROBES, LABELS, range(options.seeds))


def surprised(twins: Twins, static: float, options: argparse.Namespace) -> list[dict]:
    """How often the impossible behind a screen surprises each twin more than the possible."""
    world = PhysicsWorld(*SIZE, split="test", static=static)
    rows = []
    for kind in UNSEEN:
        generator, found = Generator().manual_seed(SCENE_SEED), {name: [] for name in twins}
        for _ in tqdm(range(options.scenes), desc=f"{kind}, static {static:g}", unit="scene"):
            pairs = draw_pairs(world, kind, True, 1, generator)
            for name, model in twins.items():
                found[name].append(mean_surprise(model, pairs))
        scores = {name: compare(*np.concatenate(each, axis=1)) for name, each in found.items()}
        rows.append({"kind": kind, "scenes": options.scenes} | scores)
    return rows


def kept_at(twins: Twins) -> dict[float, dict[str, float]]:
    """What `kept` says, by the amount of static."""
    return {share: kept(beside_random(twins), share) for share in NOISY}


@torch.no_grad()
def kept(models: dict[str, FrozenModel], static: float) -> dict[str, float]:
    """How much of features is static: their change from one noise to another, over the same scene.

    Args:
        models: by name.
        static: how much of it there is.

    Returns:
        of each model, the mean squared change as a share of that from scene to scene: 0 where
        static is left out of features, 1 where they are nothing else.
    """
    plain, noise = (
        PhysicsWorld(*SIZE, split="test", static=share)
        .sample(KEPT, Generator().manual_seed(SCENE_SEED))
        .frames.float()
        for share in (0.0, 1.0)
    )
    other = noise.roll(1, dims=1)  # each frame has that of the one before
    room = (plain != noise).any(-1, keepdim=True)
    room = room & room.roll(1, dims=1)
    mixed = [torch.where(room, plain.lerp(each, static), plain).byte() for each in (noise, other)]
    return {name: _change(model, *mixed) for name, model in models.items()}


def _change(model: FrozenModel, one: Tensor, other: Tensor) -> float:
    one, other = (normalize_features(model.encode(normalize(each))) for each in (one, other))
    scenes = (one - one.roll(1, dims=0)).square().mean()
    return float((one - other).square().mean() / scenes)


def health(objective: str, static: float, options: argparse.Namespace) -> dict:
    """Loss, spread and rank at the end of a training."""
    log = options.runs / _names(objective, static)[1] / "metrics.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])
    return {name: last[name] for name in ("loss", "spread", "rank")}


def sheet(static: list[float]) -> Image.Image:
    """Frames of some clips, a row for each amount of static."""
    rows = [
        np.concatenate([PhysicsWorld(*SIZE, static=share).frames(seed)[SHOWN] for seed in CLIPS], 1)
        for share in static
    ]
    return Image.fromarray(np.concatenate(rows))


def write(options: argparse.Namespace) -> dict:
    """Trains and judges all that was asked for, and writes what is known after each pair."""
    asked = {name: getattr(options, name) for name in ("steps", "clips", "train_clips", "seeds")}
    results = {"settings": asked, "shape": SHAPES["twin"].to_dict(), "worlds": []}
    for static in options.static:
        twins = {objective: train(objective, static, options) for objective in OBJECTIVES}
        world = {
            "static": static,
            "training": {name: health(name, static, options) for name in OBJECTIVES},
            "probes": probed(twins, static, options),
            "kept": kept_at(twins),
            "surprise": surprised(twins, static, options),
        }
        if static == max(options.static):
            again = {objective: train(objective, static, options, 1) for objective in OBJECTIVES}
            world["kept_again"] = kept_at(again)
        results["worlds"].append(world)
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        sheet(options.static).save(options.out.with_suffix(".webp"), quality=80)
    return results


def main() -> None:
    """Writes the results, and prints them as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--static", type=float, nargs="+", default=[0.0, 0.2, 0.5])
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--clips", type=int, default=1024, help="to train on")
    parser.add_argument("--train-clips", type=int, default=1000, help="labelled, for probes")
    parser.add_argument("--test-clips", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=2, help="of each probe")
    parser.add_argument("--scenes", type=int, default=20, help="of each impossible kind")
    parser.add_argument("--processes", type=int, default=2, help="that draw clips")
    parser.add_argument("--runs", type=Path, default=Path("runs/static-twins"))
    parser.add_argument("--out", type=Path, default=ASSETS / "baselines" / "static.json")
    print(json.dumps(write(parser.parse_args())))


if __name__ == "__main__":
    main()
