"""Which shape, which masks? Short runs on the physics world: `python benchmarks/physics_trial.py`.

Every run trains on the same stored clips (`python -m vjepa store --data physics`) for as many
steps, or with `--minutes` for about as long, and is judged by what a visitor sees: a thing that was
in view is hidden from a moment on, in the clip as it is and in one of its frames, repeated. Hidden
pixels are read out of predictions linearly, for no decoder is there yet. The loss is no judge:
background rules it. Prints one JSON object a run, and goes on with what was broken off. The small
shapes learn from clips of 80 pixels, as `static_twins.py` stores them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor
from tqdm import tqdm

from decoder.scoring import metrics
from decoder.scoring.held_out import ClipBatch, Clips, HeldOutPhysics
from decoder.scoring.hide import LEAST_PIXELS, hide
from vjepa import checkpoint, masks
from vjepa.beginning import begin
from vjepa.config import SHAPES, ModelConfig
from vjepa.data.clips import normalize
from vjepa.model import VJEPA
from vjepa.pretrain import pretrain
from vjepa.recipes import PretrainConfig
from vjepa.tokens import patchify, pixel_mask, split, unpatchify

ROTARY = SHAPES["physics"]
SMALL = replace(
    ROTARY,
    image_size=80,
    embed_dim=96,
    predictor_embed_dim=64,
    predictor_depth=4,
    predictor_num_heads=2,
)
"""Half the width and half the tokens, a fifth of the work: short runs count."""
TRIALS = {
    "added positions": SHAPES["demo"],
    "rotary": ROTARY,
    "rotary, patches of 8": replace(ROTARY, patch_size=8),
    "small": SMALL,
    "small, patches of 8": replace(SMALL, patch_size=8),
}
SPANS = {"future": 0.25, "span": 0.5}
MASKS = {
    "as before": {"future": 0.5},
    "a part of the time": SPANS,
    "rare tokens count more": SPANS | {"rarity": 1.5},
}
"""What the long-range masks are, by the name of the mix, and which hidden tokens count more."""
KINDS = ("thing", "still")
FITTED = 200
"""Training clips that the read-out is fitted to."""
PENALTY = 30.0
PACED = 20
"""Steps whose pace is taken, after as many that warm up."""


def judge(model: VJEPA, train: UInt8[np.ndarray, "B T H W 3"], clips: Clips, seed: int = 0) -> dict:
    """How well hidden things are predicted.

    Args:
        model: frozen.
        train: clips that the linear read-out is fitted to.
        clips: held out.
        seed: of the masks.

    Returns:
        by kind of `KINDS`: clips that were scored; PSNR on the hidden pixels of the thing in dB
        (median): read out of the predictions, and as it was when it was seen last; the share of
        clips whose prediction is the better of the two.
    """
    generator = Generator().manual_seed(seed)
    ridge = fit(model, train, generator)
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for index in tqdm(range(len(clips)), desc="judge", unit="clip"):
        for kind in KINDS:
            hidden = hide(clips.read([index]), kind, model.config, generator)
            scored = score(model, ridge, *hidden) if hidden else None
            found[kind] += [scored] if scored else []
    return {kind: _row(np.array(pairs)) for kind, pairs in found.items() if pairs}


def _row(pairs: Float[np.ndarray, "n 2"]) -> dict:
    predicted, copied = np.median(pairs, axis=0)
    wins = float((pairs[:, 0] > pairs[:, 1]).mean())
    return {"clips": len(pairs), "predicted": predicted, "copied": copied, "wins": wins}


def fit(model: VJEPA, train: UInt8[np.ndarray, "B T H W 3"], generator: Generator) -> Pipeline:
    """Ridge regression from predicted features to pixels, behind boxes over a part of the time."""
    features, pixels = zip(*_examples(model, train, generator), strict=True)
    return make_pipeline(StandardScaler(), Ridge(PENALTY)).fit(
        np.concatenate(features), np.concatenate(pixels)
    )


def _examples(
    model: VJEPA, train: np.ndarray, generator: Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for clip in train:
        frames = torch.from_numpy(clip)[None]
        mask = masks.span_batch(model.grid, 1, generator=generator)[0]
        hidden = mask.flatten()
        yield predict(model, frames, mask), _tubelets(frames, model.config)[hidden].numpy()


@torch.no_grad()
def predict(
    model: VJEPA, frames: UInt8[Tensor, "1 T H W 3"], mask: Bool[Tensor, "t h w"]
) -> Float[np.ndarray, "M O"]:
    """Predicted features of the hidden tokens."""
    context_idx, target_idx = (idx.to(model.device) for idx in split(mask))
    context = model.encode_context(normalize(frames), context_idx)
    return model.predict(context, context_idx, target_idx)[0].float().cpu().numpy()


def _tubelets(frames: UInt8[Tensor, "1 T H W 3"], config: ModelConfig) -> Float[Tensor, "N P"]:
    return patchify(frames.permute(0, 4, 1, 2, 3) / 255, config)[0]


def score(
    model: VJEPA, ridge: Pipeline, batch: ClipBatch, mask: Bool[Tensor, "t h w"]
) -> tuple[float, float] | None:
    """PSNR on the thing's hidden pixels, predicted and copied; None where too few are hidden."""
    truth, hidden = batch.frames[0].numpy(), pixel_mask(mask, model.config).numpy()
    thing = hidden & batch.thing[0].numpy()
    if thing.sum() < LEAST_PIXELS:
        return None
    tubelets = _tubelets(batch.frames, model.config)
    guess = ridge.predict(predict(model, batch.frames, mask))
    tubelets[mask.flatten()] = torch.from_numpy(guess).float().clamp(0, 1)
    drawn = unpatchify(tubelets[None], model.config)[0].permute(1, 2, 3, 0)
    shown = (drawn * 255).round().byte().numpy()
    copied = metrics.trivial_fills(truth, hidden)["temporal_copy"]
    return tuple(
        metrics.decibels(metrics.squared_error(frames, truth)[thing].mean())
        for frames in (shown, copied)
    )


def run(shape: str, mix: str, options: argparse.Namespace) -> dict:
    """Trains, or goes on, and judges."""
    name = f"{shape}-{mix}" + (f"-{options.minutes:g}-minutes" if options.minutes else "")
    out = options.runs / name.replace(" ", "-").replace(",", "")
    settings = {"batch_size": options.batch, "steps": options.steps, "warmup": 50} | MASKS[mix]
    resume = (out / "last.pt").is_file()
    config = PretrainConfig(
        out=out, data=str(options.data), preset=shape, resume=resume, **settings
    )
    if options.minutes and resume:
        begun = torch.load(out / "last.pt", map_location="cpu", weights_only=True)["config"]
        config = replace(config, steps=begun["steps"])
    elif options.minutes:
        config = replace(config, steps=steps_within(options.minutes, config))
    model = checkpoint.load(pretrain(config, *begin(config)))
    train = np.load(options.data, mmap_mode="r")[:FITTED]
    clips = HeldOutPhysics(options.clips, model.config, Generator().manual_seed(0))
    health = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    kept = {name: health[name] for name in ("loss", "spread", "rank", "clips_per_second")}
    trial = {"shape": shape, "masks": mix, "steps": config.steps, "minutes": options.minutes}
    return trial | kept | judge(model, train, clips)


def steps_within(minutes: float, config: PretrainConfig) -> int:
    """How many steps fit, by the pace of a few of which nothing is kept."""
    with TemporaryDirectory() as folder:
        few = replace(config, out=Path(folder), steps=2 * PACED, log_every=PACED)
        pretrain(few, *begin(few))
        last = json.loads((Path(folder) / "metrics.jsonl").read_text().splitlines()[-1])
    return int(60 * minutes * last["clips_per_second"] / config.batch_size)


def main() -> None:
    """Runs all that is asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("runs/physics.npy"))
    parser.add_argument("--shapes", nargs="+", choices=TRIALS, help="all for clips of this size")
    parser.add_argument("--masks", nargs="+", choices=MASKS, default=list(MASKS))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--minutes", type=float, help="as many steps instead as take about so long")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--clips", type=int, default=100, help="held out, that each is judged by")
    parser.add_argument("--runs", type=Path, default=Path("runs/physics-trial"))
    parser.add_argument("--out", type=Path, help="the rows are written here too")
    options = parser.parse_args()
    SHAPES.update(TRIALS)
    side = np.load(options.data, mmap_mode="r").shape[2]
    fitting = [name for name, shape in TRIALS.items() if shape.image_size == side]
    rows = []
    for shape, mix in product(options.shapes or fitting, options.masks):
        rows.append(run(shape, mix, options))
        print(json.dumps(rows[-1]), flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
