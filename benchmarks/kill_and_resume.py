"""Does a killed run end where an undisturbed one does? `python benchmarks/kill_and_resume.py`.

A tiny model is trained by 1, 2 and 4 processes (gloo, on the CPU), killed at random moments, by
SIGKILL or SIGTERM, and resumed until it is done. Prints one JSON object: for each number of
processes how often it was killed, where, and how far the weights are from those of one process that
nobody disturbed. The processes are forked from this one, which has imported everything already.
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
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

from vjepa import config as configs
from vjepa.beginning import begin
from vjepa.config import ModelConfig
from vjepa.pretrain import pretrain
from vjepa.recipes import PretrainConfig

TINY = ModelConfig(
    image_size=32,
    num_frames=4,
    patch_size=8,
    embed_dim=24,
    depth=1,
    num_heads=2,
    predictor_embed_dim=12,
    predictor_depth=1,
    predictor_num_heads=2,
)
FORK = multiprocessing.get_context("fork")


def train(config: PretrainConfig, rank: int, processes: int, port: int) -> None:
    """One process of a run."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
    place |= {"LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": 1}
    os.environ.update({name: str(value) for name, value in place.items()})
    with (config.out.parent / "said.txt").open("a") as said:
        os.dup2(said.fileno(), sys.stderr.fileno())
    try:
        pretrain(config, *begin(config))
    except KeyboardInterrupt:
        os._exit(1)
    os._exit(0)


def start(config: PretrainConfig, processes: int) -> list[BaseProcess]:
    """Starts all processes of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        FORK.Process(target=train, args=(config, rank, processes, port))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    return started


def finish(started: list[BaseProcess]) -> bool:
    """Waits for all processes; whether they did their work."""
    for process in started:
        process.join()
    return all(process.exitcode == 0 for process in started)


def disturb(config: PretrainConfig, processes: int, kills: int, span: float, dice: random.Random):
    """Kills a run at random moments and resumes it; returns the steps that it was resumed from."""
    resumed = []
    for kill in range(kills + 1):
        resume = (config.out / "last.pt").is_file()
        if resume:
            state = torch.load(config.out / "last.pt", weights_only=True)
            resumed.append(state["step"])
        started = start(replace(config, resume=resume), processes)
        if kill < kills:
            time.sleep(dice.uniform(0, span))
            number = dice.choice([signal.SIGKILL, signal.SIGTERM])
            for process in started:
                if process.is_alive():
                    os.kill(process.pid, number)
        done = finish(started)
    require(done, config.out.parent)
    return resumed


def require(done: bool, folder: Path) -> None:
    """Ends with what the processes said where they failed."""
    if not done:
        raise SystemExit((folder / "said.txt").read_text()[-2000:])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint holds."""
    return torch.load(folder / "last.pt", weights_only=True)["model"]


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Largest difference of any weight."""
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)


def main() -> None:
    """Runs all numbers of processes and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    configs.SHAPES["tiny"] = TINY
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(compare(Path(name), options)))


def compare(folder: Path, options: argparse.Namespace) -> dict:
    """The table."""
    clips = np.random.default_rng(0).integers(0, 256, (50, 4, 32, 32, 3), np.uint8)
    np.save(folder / "clips.npy", clips)
    config = PretrainConfig(
        out=folder / "undisturbed",
        data=str(folder / "clips.npy"),
        preset="tiny",
        steps=options.steps,
        batch_size=8,
        optimizer="adamw",  # Muon orthogonalises in bfloat16, whose rounding enlarges that of sums
        lr=6e-4,
        warmup=5,
        precision="no",
        save_every=4,
        log_every=2,
    )
    clock = time.monotonic()
    require(finish(start(config, 1)), folder)
    span = time.monotonic() - clock
    found, dice, expected = {}, random.Random(options.seed), weights(config.out)
    for count in options.processes:
        own = replace(config, out=folder / f"run-{count}")
        resumed = disturb(own, count, options.kills, span, dice)
        lines = (own.out / "metrics.jsonl").read_text().splitlines()
        found[count] = {
            "resumed_from": resumed,
            "lines_of_metrics": len(lines),
            "largest_difference": distance(weights(own.out), expected),
        }
    return found


if __name__ == "__main__":
    main()
