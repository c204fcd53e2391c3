"""Does each process make its own clips alone? `python benchmarks/processes.py`.

1, 2 and 8 processes take one step's batch each of a run with the published numbers, 24 clips a
process, from the bundled videos; the model is a stub that takes a mean. Prints one JSON object: for
each number of processes how many clips each decoded, the memory that each had of its own (median
and greatest, MB), and what its masks took relative to its decoding, in processor time; and the same
for the masks of 3,072 clips, drawn in one process, relative to decoding as many.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch

from vjepa.batches import MASKS, STEPS, BatchStream, own_generator
from vjepa.config import ModelConfig
from vjepa.data.clips import training_clips
from vjepa.data.sources import Videos
from vjepa.masks import draw_masks
from vjepa.recipes import PUBLISHED, PretrainConfig

CLIPS = 24
SHAPE = ModelConfig()
FORK = multiprocessing.get_context("fork")


class Counted(Videos):
    """Videos that count what is decoded, and how long that takes."""

    decoded, seconds = 0, 0.0

    def clip(self, *given):
        """One clip."""
        begin = time.process_time()
        frames = super().clip(*given)
        self.decoded, self.seconds = self.decoded + 1, self.seconds + time.process_time() - begin
        return frames


def mask_seconds(config: PretrainConfig, groups: int) -> float:
    """Of the masks of so many groups of clips."""
    begin = time.process_time()
    for group in range(groups):
        draw_masks(
            SHAPE.grid,
            config.group,
            config.max_targets,
            own_generator(MASKS, config.seed, 0, group),
            shared=own_generator(STEPS, config.seed, 0),
        )
    return time.process_time() - begin


def work(rank: int, count: int, answers: multiprocessing.SimpleQueue, all_done) -> None:
    """One process of so many."""
    torch.set_num_threads(1)
    own = {"batch_size": CLIPS * count, "workers": 0, "steps": 1, "warmup": 0}
    config = PretrainConfig(out=Path("unused"), **(PUBLISHED | own))
    source = Counted(training_clips(), SHAPE, frame_step=config.frame_step)
    cpu = torch.device("cpu")
    place = SimpleNamespace(process_index=rank, num_processes=count, device=cpu)
    with BatchStream(source, config, SHAPE, 0, place) as batches:
        (batch,) = list(batches)
    clips, masks = batch.to_model(cpu)
    stub = clips.mean()
    memory = psutil.Process().memory_full_info().uss / 1e6
    all_done.wait()  # memory is looked at while all of them hold a batch
    drawn = mask_seconds(config, 1)
    answers.put((source.decoded, memory, source.seconds, drawn, float(stub), len(masks)))
    os._exit(0)


def measure(count: int) -> dict:
    """What so many processes take."""
    answers, all_done = FORK.SimpleQueue(), FORK.Barrier(count)
    started = [FORK.Process(target=work, args=(i, count, answers, all_done)) for i in range(count)]
    for process in started:
        process.start()
    found = [answers.get() for _ in started]
    for process in started:
        process.join()
    decoded, memory, seconds, drawn, stubs, _ = zip(*found, strict=True)
    if len(set(stubs)) != count:
        raise SystemExit("two processes had the same clips")
    return {
        "decoded_by_each": sorted(set(decoded)),
        "own_megabytes": [round(statistics.median(memory)), round(max(memory))],
        "masks_to_decoding": round(sum(drawn) / sum(seconds), 4),
        "seconds_a_clip": sum(seconds) / sum(decoded),
    }


def main() -> None:
    """Measures all numbers of processes and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 8])
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict = {count: measure(count) for count in options.processes}
    config = PretrainConfig(out=Path("unused"), **PUBLISHED)
    groups = config.batch_size // config.group
    clip = found[options.processes[0]]["seconds_a_clip"]
    found["masks_of_3072_to_decoding"] = mask_seconds(config, groups) / config.batch_size / clip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
