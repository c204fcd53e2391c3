"""The commands of the model: `python -m vjepa --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import tyro

from vjepa import command, config
from vjepa.data import sources
from vjepa.pretrain import PretrainConfig
from vjepa.pretrain import pretrain as run_pretraining


def pretrain(config: Annotated[PretrainConfig, tyro.conf.arg(name="")]) -> None:
    """Pretrain a model; prints the folder it was written to."""
    print(run_pretraining(config))


def store(
    out: Path,
    clips: int = 8192,
    data: str = "world",
    preset: str = "demo",
    levels: tuple[int, ...] = (0, 1, 2, 3, 4),
    seed: int = 0,
) -> None:
    """Draw training clips once and store them in one file, to be read by --data.

    Args:
        out: the .npy file to write.
        clips: how many.
        data: "world", or a folder of videos.
        preset: the model shape whose frames they are.
        levels: difficulties of the world, mixed equally.
        seed: of the draws.
    """
    shape = config.preset(preset)
    source = sources.open_source(data, shape, levels=levels, device=torch.device("cpu"))
    sources.store(source, out, clips, seed=seed)


if __name__ == "__main__":
    command.run({"pretrain": pretrain, "store": store}, prog="python -m vjepa")
