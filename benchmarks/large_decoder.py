"""Does a decoder for a ViT-L train on this machine? `python benchmarks/large_decoder.py FOLDER`.

Makes a ViT-L of random weights and trains a decoder of size B on it, online: killed outright after
some steps, resumed to the end. Prints one JSON object: what the estimate said of the time and of
the memory, what happened (of the whole run, as if its own speed had lasted; the greatest memory of
the process, as the kernel counts it), their ratios, and the largest relative difference between
losses of the steps that were taken twice, before the kill and after it. With --threads the times
are of processors, of as many threads together, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from vjepa import checkpoint, config
from vjepa.model import VJEPA

SECONDS = {"s": 1, "min": 60, "h": 3600}
COUNTED = """
import runpy, time
import torch
torch.set_num_threads({threads})
time.perf_counter = time.monotonic = time.process_time
runpy.run_module("decoder", run_name="__main__", alter_sys=True)
"""
"""The command, its clocks counting processor time."""


def make_model(name: str, folder: Path) -> None:
    """A model of random weights, in float32."""
    torch.manual_seed(0)
    model = VJEPA(config.preset(name)).eval().requires_grad_(False)
    for token in model.predictor.mask_tokens:
        token.normal_(std=0.02)
    checkpoint.save(model, folder, torch.float32)


def train(words: list[str], out: Path, kill_at: int | None) -> tuple[str, int]:
    """One process of a run: what it said, and its greatest memory in bytes."""
    with (out.parent / "said.txt").open("w") as said:
        process = subprocess.Popen([sys.executable, *words], stderr=said)
    if kill_at:
        while len(rows(out)) < kill_at and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    text = (out.parent / "said.txt").read_text()
    if bool(status) != bool(kill_at):
        raise SystemExit(text[-2000:])
    return text, used.ru_maxrss * 1024


def rows(out: Path) -> list[dict]:
    """The lines of metrics."""
    file = out / "metrics.jsonl"
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


def announced(text: str) -> tuple[float, float]:
    """Seconds and bytes that the estimate said."""
    words = re.search(r"training: .*?about ([^;]+?); memory: ([\d.]+) GB", text)
    if not words:
        raise SystemExit(f"there is no estimate in {text[-2000:]}")
    parts = re.findall(r"(\d+) (s|min|h)\b", words[1])
    return sum(int(number) * SECONDS[unit] for number, unit in parts), float(words[2]) * 1e9


def main() -> None:
    """Runs it and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an empty one, with 5 GB of room")
    parser.add_argument("--model", default="vitl16")
    parser.add_argument("--size", default="B")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, help="as many; processor time is counted then")
    options = parser.parse_args()
    out = options.folder / "run"
    if not (options.folder / "model").exists():
        make_model(options.model, options.folder / "model")
    said = {"model": options.folder / "model", "size": options.size, "out": out}
    said |= {"steps": options.steps, "batch-size": options.batch, "num-frames": options.frames}
    said |= {"save-every": 4, "log-every": 1, "warmup": 2}
    counted = COUNTED.format(threads=options.threads)
    words = ["-c", counted] if options.threads else ["-m", "decoder"]
    words += ["train", *(str(word) for pair in said.items() for word in (f"--{pair[0]}", pair[1]))]
    text, _ = train(words, out, kill_at=6)
    before = rows(out)
    again, memory = train([*words, "--resume"], out, None)
    ours = {row["step"]: row for row in rows(out)}
    twice = [row for row in before if row["step"] > 4]
    (seconds, _), (_, bytes_) = announced(text), announced(again)
    pace = [part[-1]["clips_per_second"] / options.batch for part in (before, rows(out))]
    taken = 4 / pace[0] + (options.steps - 4) / pace[1]
    drift = [abs(row["loss"] - ours[row["step"]]["loss"]) / row["loss"] for row in twice]
    print(
        json.dumps(
            {
                "seconds": {"said": seconds, "taken": taken, "ratio": seconds / taken},
                "memory": {"said": bytes_, "taken": memory, "ratio": bytes_ / memory},
                "largest_difference_of_losses": max(drift),
            }
        )
    )


if __name__ == "__main__":
    main()
