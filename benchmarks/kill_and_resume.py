"""Does a killed run end where an undisturbed one does? `python benchmarks/kill_and_resume.py`.

Tiny runs of pretraining, a decoder (asking its model online, and from a cache) and a streamed
probe, by 1, 2 and 4 processes (gloo, on the CPU): killed ten times at random moments, by SIGKILL or
SIGTERM, and resumed until they are done. Prints one JSON object: for each kind of run and number of
processes the steps that it was resumed from, and the largest difference of any weight, killed
against undisturbed with as many processes, and undisturbed against one process. The processes are
forked from this one, which has imported everything already.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from tiny import TINY  # noqa: E402

from decoder.training.train import TrainConfig, train  # noqa: E402
from vjepa import checkpoint  # noqa: E402
from vjepa import config as configs  # noqa: E402
from vjepa.analysis.streamed import StreamConfig, train_streamed  # noqa: E402
from vjepa.beginning import begin  # noqa: E402
from vjepa.data.datasets import open_dataset  # noqa: E402
from vjepa.errors import StoppedError  # noqa: E402
from vjepa.model import VJEPA  # noqa: E402
from vjepa.pretrain import pretrain  # noqa: E402
from vjepa.recipes import PretrainConfig  # noqa: E402

FORK = multiprocessing.get_context("fork")
Config = PretrainConfig | TrainConfig | StreamConfig


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        config: its settings, but for the folder.
        run: takes them, in every process.
        weights: what its checkpoint calls them.
    """

    config: Config
    run: Callable[[Any], object]
    weights: str


def kinds(folder: Path, steps: int, optimizer: str) -> dict[str, Kind]:
    """All kinds of run, on made-up clips and pictures."""
    configs.SHAPES["tiny"] = TINY
    rng = np.random.default_rng(0)
    np.save(folder / "clips.npy", rng.integers(0, 256, (50, 4, 48, 48, 3), np.uint8))
    for number in range(16):
        (picture := folder / "pictures" / "ab"[number % 2] / f"{number}.png").parent.mkdir(
            parents=True, exist_ok=True
        )
        Image.fromarray(rng.integers(0, 256, (50, 60, 3), np.uint8)).save(picture)
    model = VJEPA(TINY).eval()
    checkpoint.save(model, folder / "model")
    often = {"out": folder, "batch_size": 8, "save_every": 2, "log_every": 1}
    learned = {"data": str(folder / "clips.npy"), "steps": steps, "precision": "no", "warmup": 5}
    learned |= {"optimizer": optimizer, "lr": 3e-3 if optimizer == "muon" else 6e-4}
    decoder = TrainConfig(model=str(folder / "model"), width=24, depth=1, **often, **learned)
    pictures = open_dataset(folder / "pictures")
    streamed = StreamConfig(epochs=steps // 2, clips=1, views=1, workers=0, **often)
    return {
        "pretraining": Kind(
            PretrainConfig(preset="tiny", **often, **learned),
            lambda config: pretrain(config, *begin(config)),
            "model",
        ),
        "decoder": Kind(decoder, train, "network"),
        "decoder from a cache": Kind(replace(decoder, cache_clips=64), train, "network"),
        "probe": Kind(
            streamed, lambda config: train_streamed(model, pictures, pictures, config), "probe"
        ),
    }


def work(kind: Kind, config: Config, rank: int, processes: int, port: int) -> None:
    """One process of a run."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
    place |= {"LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": 1}
    os.environ.update({name: str(value) for name, value in place.items()})
    with (config.out.parent / "said.txt").open("a") as said:
        os.dup2(said.fileno(), sys.stderr.fileno())
    try:
        kind.run(config)
    except StoppedError:
        os._exit(1)
    os._exit(0)


def start(kind: Kind, config: Config, processes: int) -> list[BaseProcess]:
    """Starts all processes of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        FORK.Process(target=work, args=(kind, config, rank, processes, port))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    return started


def finish(started: list[BaseProcess], folder: Path) -> None:
    """Waits for all processes, and ends with what they said where one fails."""
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise SystemExit((folder / "said.txt").read_text()[-2000:])


def disturb(kind: Kind, config: Config, processes: int, kills: int, dice: random.Random):
    """Kills a run at random moments and resumes it; returns the steps that it was resumed from.

    A moment is some time after the run has reached a random step, or while it starts.
    """
    resumed, last = [], steps_of(config)
    for kill in range(kills):
        step = saved(config, kind)[0]
        started = start(kind, replace(config, resume=step > 0), processes)
        reached = step + dice.randint(-1, 2 * (last - step) // (kills + 1 - kill))
        while logged(config) < min(reached, last - 1) and all(p.is_alive() for p in started):
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.05 if reached > step else 1.0))
        number = dice.choice([signal.SIGKILL, signal.SIGTERM])
        for process in started:
            os.kill(process.pid, number)
        for process in started:
            process.join(15)
            process.kill()  # one that waits for a killed one
        resumed.append(saved(config, kind)[0])
    finish(start(kind, replace(config, resume=resumed[-1] > 0), processes), config.out.parent)
    return resumed


def steps_of(config: Config) -> int:
    """How many steps a run takes; two make an epoch of the probe."""
    return config.epochs * 2 if isinstance(config, StreamConfig) else config.steps


def logged(config: Config) -> int:
    """The last step that a run has told of."""
    try:
        return json.loads((config.out / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    except (OSError, ValueError, IndexError):
        return 0


def saved(config: Config, kind: Kind) -> tuple[int, dict[str, torch.Tensor]]:
    """The step and the weights of the last checkpoint, if there is one."""
    if not (config.out / "last.pt").is_file():
        return 0, {}
    state = torch.load(config.out / "last.pt", weights_only=True)
    return state["step"], state[kind.weights]


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Largest difference of any weight."""
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)


def compare(kind: Kind, folder: Path, counts: list[int], kills: int, dice: random.Random) -> dict:
    """The rows of one kind of run."""
    folder.mkdir()
    found, ends = {}, {}
    for count in counts:
        calm, killed = (
            replace(kind.config, out=folder / f"{count}-{name}") for name in ("calm", "killed")
        )
        finish(start(kind, calm, count), folder)
        resumed = disturb(kind, killed, count, kills, dice)
        steps, ends[count] = saved(calm, kind)
        lines = [(run.out / "metrics.jsonl").read_text().count("\n") for run in (calm, killed)]
        if lines != [steps, steps]:
            raise SystemExit(f"{folder.name}: {lines} lines of metrics for {steps} steps")
        found[count] = {
            "resumed_from": resumed,
            "killed_and_calm": distance(saved(killed, kind)[1], ends[count]),
            "calm_and_one_process": distance(ends[count], ends[counts[0]]),
        }
    return found


def main() -> None:
    """Runs all kinds by all numbers of processes and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", help="pretraining, decoder, ...; all by default")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--optimizer", default="adamw", help="or muon; of all but the probe")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        table = {}
        for kind, run in kinds(Path(name), options.steps, options.optimizer).items():
            if kind in (options.kinds or [kind]):
                dice, own = random.Random(options.seed), Path(name) / f"runs of {kind}"
                table[kind] = compare(run, own, options.processes, options.kills, dice)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
