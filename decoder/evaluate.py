"""Is the decoded region what the features say? Conditions A to E, scored on hidden pixels.

A target     decoded from the true features: the ceiling
B predicted  decoded from the predictions: the result
C shuffled   decoded from another clip's predictions: is it grounded?
D null       decoded from nothing: the prior
E trivial    mean colour, temporal copy, inpainting: is it worth a model?
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor
from tqdm import tqdm

from decoder import metrics
from decoder.explorer import Explorer
from decoder.pixels import paste
from vjepa import masks
from vjepa.analysis.interval import interval
from vjepa.data.clips import bundled_clips, find_videos, normalize, read_frames
from vjepa.data.sources import CLIP_SECONDS, duration
from vjepa.data.world import World
from vjepa.errors import InputError
from vjepa.grid import pixel_mask, split, take

MASK_NAMES = ("short", "long", "box", "future")
UNTRAINED_REAL = ("cup_tilt_zoom", "bigbuckbunny")
"""Real clips that no bundled model was trained on."""
GROUP = 8
"""Clips, at most, that share a mask, so that one's predictions can stand in for another's."""
SPREAD_SEEDS = 8
STEP_COUNTS = (1, 4, 32)


@dataclass(frozen=True)
class Group:
    """Clips under one mask, and the model's features of what it hides."""

    name: str
    mask: Bool[Tensor, "t h w"]
    frames: UInt8[Tensor, "B T H W 3"]
    hidden: Bool[np.ndarray, "T H W"]
    target_idx: Tensor
    predictions: Float[Tensor, "B M D"]
    targets: Float[Tensor, "B M D"]


@dataclass
class Scores:
    """Numbers by measure, one a clip."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, **measures: float) -> None:
        """Adds one clip's numbers."""
        for name, value in measures.items():
            self.values[name].append(value)

    def mean(self, name: str) -> float:
        """Average over clips."""
        return float(np.mean(self.values[name]))

    def difference(self, a: str, b: str) -> dict:
        """Mean of a - b over clips, with its 95 % interval."""
        return interval(np.subtract(self.values[a], self.values[b]))


def evaluate(explorer: Explorer, clips: str, n: int, *, levels, seed: int, steps: int) -> dict:
    """Scores the decoder on clips that it was not trained on.

    Args:
        explorer: model and decoder.
        clips: "world" (held-out objects and panoramas), "real" (the two untrained bundled
            videos), or a folder of videos.
        n: number of clips.
        levels: difficulties of the world, mixed equally.
        seed: of clips, masks and noise.
        steps: of the diffusion.

    Returns:
        the table, as `python -m decoder evaluate --json` prints it.

    Raises:
        InputError: unknown clips, or fewer than two.
    """
    if n < 2:
        raise InputError(f"Evaluation needs at least 2 clips, not {n}.")
    generator = Generator().manual_seed(seed)
    frames = load_clips(clips, n, explorer, levels, generator)
    scores, codes = Scores(), []
    with tqdm(total=len(frames), desc="evaluate", unit="clip") as bar:
        for group in make_groups(explorer, frames, generator):
            decoded = score_conditions(explorer, group, scores, steps, seed)
            score_spread(explorer, group, scores, steps)
            if bar.n < 64:
                score_steps(explorer, group, scores, seed)
            codes.append(reencode(explorer, group, decoded))
            bar.update(len(group.frames))
    return summary(scores, codes, len(frames))


def load_clips(
    clips: str, n: int, explorer: Explorer, levels: tuple[int, ...], generator: Generator
) -> UInt8[Tensor, "N T H W 3"]:
    """The clips to score."""
    config = explorer.config
    if clips == "world":
        worlds = [World(k, config.image_size, config.num_frames, split="test") for k in levels]
        parts = [
            world.sample(len(range(i, n, len(worlds))), generator).frames
            for i, world in enumerate(worlds)
            if i < n
        ]
        frames = torch.cat(parts)
        return frames[torch.randperm(len(frames), generator=generator)]
    paths = _video_paths(clips)
    share = -(-n // len(paths))
    starts = np.linspace(0, 1, share)
    read = [
        read_frames(path, config.image_size, config.num_frames, start=_start(path, s))
        for s in starts
        for path in paths
    ]
    return torch.from_numpy(np.stack(read[:n]))


def _video_paths(clips: str) -> list[Path]:
    if clips == "real":
        return [bundled_clips()[name] for name in UNTRAINED_REAL]
    if not Path(clips).is_dir():
        raise InputError(f"There are no clips {clips!r}: give world, real, or a folder of videos.")
    return find_videos(Path(clips))


def _start(path: Path, position: float) -> float:
    return position * max(duration(path) - CLIP_SECONDS, 0.0)


@torch.no_grad()
def make_groups(
    explorer: Explorer, frames: UInt8[Tensor, "N T H W 3"], generator: Generator
) -> Iterator[Group]:
    """Groups of clips under a mask each, the kinds of mask in turn."""
    model = explorer.model
    # groups of about equal size: a lone clip would have no other to be confused with
    for number, part in enumerate(frames.tensor_split(-(-len(frames) // GROUP))):
        name = MASK_NAMES[number % len(MASK_NAMES)]
        mask = masks.make(name, explorer.grid, generator)
        context_idx, target_idx = (idx.expand(len(part), -1) for idx in split(mask))
        context_idx, target_idx = context_idx.to(model.device), target_idx.to(model.device)
        clips = normalize(part).to(model.device, model.dtype)
        context = model.encode_context(clips, context_idx)
        mask_type = "short" if name == "short" else "long"
        yield Group(
            name=name,
            mask=mask,
            frames=part,
            hidden=pixel_mask(mask, explorer.config).numpy(),
            target_idx=target_idx,
            predictions=model.predict(context, context_idx, target_idx, mask_type).float(),
            targets=take(model.target_features(clips), target_idx),
        )


def decode(
    explorer: Explorer, group: Group, features: Tensor, source: str, steps: int, seed: int
) -> UInt8[np.ndarray, "B T H W 3"]:
    """One sample a clip, pasted into it."""
    count = len(features)
    tubelets = explorer.pipeline(
        features,
        group.target_idx,
        [source] * count,
        [Generator().manual_seed(seed + i) for i in range(count)],
        num_inference_steps=steps,
    )
    pasted = [
        paste(frames, tubelet[None], group.mask, explorer.config)[0]
        for frames, tubelet in zip(group.frames, tubelets, strict=True)
    ]
    return torch.stack(pasted).numpy()


def score_conditions(
    explorer: Explorer, group: Group, scores: Scores, steps: int, seed: int
) -> UInt8[np.ndarray, "B T H W 3"]:
    """A to E for every clip of a group; returns the clips decoded from their predictions."""
    conditions = {
        "target": (group.targets, "target"),
        "predicted": (group.predictions, "predicted"),
        "shuffled": (group.predictions.roll(1, dims=0), "predicted"),
        "null": (group.predictions, "null"),
    }
    decoded = {
        name: decode(explorer, group, features, source, steps, seed)
        for name, (features, source) in conditions.items()
    }
    errors = (group.predictions - group.targets).abs().mean((1, 2)).tolist()
    for i, truth in enumerate(group.frames.numpy()):
        clips = {name: frames[i] for name, frames in decoded.items()}
        clips |= metrics.trivial_fills(truth, group.hidden)
        for name, frames in clips.items():
            scores.add(
                **{
                    f"psnr/{name}": metrics.psnr(frames, truth, group.hidden),
                    f"ssim/{name}": metrics.ssim(frames, truth, group.hidden),
                }
            )
        sharp = metrics.sharpness(clips["predicted"], group.hidden)
        scores.add(
            sharpness=sharp / max(metrics.sharpness(truth, group.hidden), 1e-6),
            prediction_error=errors[i],
        )
        scores.add(**{f"mask/{group.name}": scores.values["psnr/predicted"][-1]})
    return decoded["predicted"]


def score_spread(explorer: Explorer, group: Group, scores: Scores, steps: int) -> None:
    """Do samples differ where they err? On the first clip of a group, several seeds."""
    one = replace(
        group,
        frames=group.frames[:1].expand(SPREAD_SEEDS, -1, -1, -1, -1),
        target_idx=group.target_idx[:1].expand(SPREAD_SEEDS, -1),
    )
    features = group.predictions[:1].expand(SPREAD_SEEDS, -1, -1)
    samples = decode(explorer, one, features, "predicted", steps, seed=0)
    truth = group.frames[0].numpy()
    scores.add(spread=metrics.spread_error_correlation(samples, truth, group.hidden))


def score_steps(explorer: Explorer, group: Group, scores: Scores, seed: int) -> None:
    """PSNR against the number of diffusion steps."""
    for steps in STEP_COUNTS:
        decoded = decode(explorer, group, group.predictions, "predicted", steps, seed)
        for frames, truth in zip(decoded, group.frames.numpy(), strict=True):
            scores.add(**{f"steps/{steps}": metrics.psnr(frames, truth, group.hidden)})


@torch.no_grad()
def reencode(
    explorer: Explorer, group: Group, decoded: UInt8[np.ndarray, "B T H W 3"]
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """Faithfulness: the decoded clips' own features, and the predictions they were made from.

    Both are averaged over the hidden tokens.
    """
    model = explorer.model
    encoded = model.target_features(normalize(torch.from_numpy(decoded)))
    again = take(encoded, group.target_idx)
    return again.mean(1).cpu(), group.predictions.mean(1).cpu()


def retrieval_top1(codes: list[tuple[Tensor, Tensor]]) -> float:
    """How often a decoded clip's nearest predictions are its own, by cosine, within a group.

    Clips of a group share their mask, so that the mask itself gives nothing away.
    """
    hits = []
    for again, predicted in codes:
        a, b = (code - predicted.mean(0) for code in (again, predicted))
        similarity = torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T
        hits += (similarity.argmax(1) == torch.arange(len(a))).tolist()
    return float(np.mean(hits))


def summary(scores: Scores, codes: list[tuple[Tensor, Tensor]], clips: int) -> dict:
    """The table that is printed and stored."""
    table = {"clips": clips}
    fills = ("mean_colour", "temporal_copy", "inpainting")
    for measure in ("psnr", "ssim"):
        names = ("target", "predicted", "shuffled", "null", *fills)
        row = {name: scores.mean(f"{measure}/{name}") for name in names}
        row["trivial"] = max(row[name] for name in fills)
        table[measure] = row
    above_null = scores.mean("psnr/predicted") - scores.mean("psnr/null")
    ceiling = scores.mean("psnr/target") - scores.mean("psnr/null")
    return table | {
        "predicted_minus_shuffled": scores.difference("psnr/predicted", "psnr/shuffled"),
        "predicted_minus_null": scores.difference("psnr/predicted", "psnr/null"),
        "knowledge": above_null / ceiling if ceiling > 0 else None,
        "sharpness": scores.mean("sharpness"),
        "spread_error_spearman": scores.mean("spread"),
        "reencode_top1": retrieval_top1(codes),
        "reencode_among": GROUP,
        "psnr_by_steps": {str(k): scores.mean(f"steps/{k}") for k in STEP_COUNTS},
        "psnr_by_mask": {
            name: scores.mean(f"mask/{name}")
            for name in MASK_NAMES
            if f"mask/{name}" in scores.values
        },
        "prediction_error": {
            "mean": scores.mean("prediction_error"),
            "std": float(np.std(scores.values["prediction_error"])),
        },
    }
