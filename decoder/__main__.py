"""The commands of the decoder: `python -m decoder --help`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from torch import Generator

from decoder import media
from decoder.evaluate import evaluate as run_evaluation
from decoder.explorer import Explorer
from decoder.train import TrainConfig
from decoder.train import train as run_training
from vjepa import command, masks
from vjepa.errors import InputError


def train(config: Annotated[TrainConfig, tyro.conf.arg(name="")]) -> None:
    """Train a decoder on a frozen model; prints the folder it was written to."""
    print(run_training(config))


def evaluate(
    model: str = "demo",
    clips: str = "world",
    n: int = 200,
    levels: tuple[int, ...] = (0, 1, 2, 3, 4),
    steps: int = 4,
    seed: int = 0,
    out: Path | None = None,
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Score decoded predictions against the ceiling, other clips', nothing, and trivial fills.

    Args:
        model: "demo", or a folder with model/ and decoder/.
        clips: "world" (held-out objects and panoramas), "real", or a folder of videos.
        n: number of clips.
        levels: difficulties of the world, mixed equally.
        steps: of the diffusion.
        seed: of clips, masks and noise.
        out: a file to write the table to, as JSON.
        json_line: print the table as one line of JSON.
    """
    explorer = Explorer.load(model)
    table = run_evaluation(explorer, clips, n, levels=levels, seed=seed, steps=steps)
    if out:
        out.write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table) if json_line else _as_text(table))


def _as_text(table: dict) -> str:
    """The table for a person: a row a condition, then the other measures."""
    rows = [f"{'condition':<14}{'PSNR dB':>9}{'SSIM':>8}"]
    for name, value in table["psnr"].items():
        rows.append(f"{name:<14}{value:>9.2f}{table['ssim'][name]:>8.3f}")
    rest = {name: value for name, value in table.items() if name not in ("psnr", "ssim")}
    return "\n".join(rows + [f"{name}: {json.dumps(value)}" for name, value in rest.items()])


def decode(
    video: Annotated[Path, tyro.conf.Positional],
    out: Path,
    mask: str = "long",
    model: str = "demo",
    seeds: tuple[int, ...] = (0, 1, 2, 3),
    steps: int = 4,
    start: float = 0.0,
    fps: float | None = None,
    playback_fps: float = 8.0,
) -> None:
    """Decode what is predicted behind a mask, side by side: original, samples, ceiling.

    Args:
        video: a video or a still image.
        out: the .mp4 or .gif to write.
        mask: a preset (short, long, tube, box, future, random), or a .npy file of bools (t, h, w).
        model: "demo", or a folder with model/ and decoder/.
        seeds: one sample each.
        steps: of the diffusion.
        start: seconds into the video.
        fps: frames a second that are read; by default the published stride.
        playback_fps: frames a second of the result.
    """
    writer = {".mp4": media.write_mp4, ".gif": media.write_gif}.get(out.suffix.lower())
    if writer is None:
        raise InputError(f"{out} must end in .mp4 or .gif.")
    explorer = Explorer.load(model)
    explorer.set_clip(video, start=start, fps=fps)
    result = explorer.predict(_read_mask(mask, explorer), seeds=seeds, steps=steps)
    panels = [explorer.frames, *result.frames, result.ceiling]
    out.parent.mkdir(parents=True, exist_ok=True)
    writer(out, np.concatenate(panels, axis=2), playback_fps)
    print(out)


def _read_mask(mask: str, explorer: Explorer):
    """A mask by the name of a preset, or from a file."""
    if Path(mask).suffix != ".npy":
        return masks.make(mask, explorer.grid, Generator().manual_seed(0))
    try:
        return np.load(mask, allow_pickle=False).astype(bool)
    except (OSError, ValueError) as error:
        raise InputError(f"{mask} is no readable .npy file of bools: {error}.") from error


COMMANDS = {"train": train, "evaluate": evaluate, "decode": decode}

if __name__ == "__main__":
    command.run(COMMANDS, prog="python -m decoder")
