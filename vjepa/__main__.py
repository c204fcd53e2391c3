"""The commands of the model: `python -m vjepa --help`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import tyro

import vjepa
from vjepa import command, config
from vjepa.analysis import probe as probing
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


def probe(
    model: str = "demo",
    task: str = "appearance",
    probe: str = "knn",
    level: int = 1,
    train_clips: int = 2000,
    test_clips: int = 1000,
    seeds: tuple[int, ...] = (0,),
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Frozen evaluation on the world: the model's features against random weights.

    Args:
        model: by name or path.
        task: appearance, motion, or all.
        probe: linear, knn, or all.
        level: difficulty of the world, 0 to 4.
        train_clips: labelled clips that the probe learns from.
        test_clips: clips of held-out objects and panoramas.
        seeds: of the clips.
        json_line: print one line of JSON; with several tasks or probes, a list.
    """
    rows = probing.evaluate(
        vjepa.load(model),
        list(probing.TASKS) if task == "all" else [task],
        list(probing.PROBES) if probe == "all" else [probe],
        level=level,
        train_clips=train_clips,
        test_clips=test_clips,
        seeds=seeds,
    )
    if json_line:
        print(json.dumps(rows[0] if len(rows) == 1 else rows))
        return
    for row in rows:
        ours, random = row["accuracy"], row["baselines"]["random"]
        print(
            f"{row['task']:<12}{row['probe']:<8} {100 * ours['mean']:5.1f} %  "
            f"random weights {100 * random['mean']:5.1f} %  chance {100 * row['chance']:.1f} %"
        )


COMMANDS = {"pretrain": pretrain, "store": store, "probe": probe}

if __name__ == "__main__":
    command.run(COMMANDS, prog="python -m vjepa")
