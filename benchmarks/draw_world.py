"""How fast is the world drawn? `python benchmarks/draw_world.py`.

Prints one JSON object: clips a second at every level, at the bundled model's size, on the CPU with
one thread and with all, and on a GPU where there is one. Drawing is worth storing (`python -m vjepa
store`) where it is slower than training.
"""

from __future__ import annotations

import json
import time

import torch

from vjepa.config import preset
from vjepa.data.world import LEVELS, World

SECONDS = 4.0
"""That every level is drawn for."""
BATCHES = {"cpu": 32, "cuda": 512}


def rate(level: int, device: str) -> float:
    """Clips a second."""
    shape = preset("demo")
    world = World(level, shape.image_size, shape.num_frames, device=device)
    generator = torch.Generator(device).manual_seed(0)
    world.sample(8, generator)  # reads the pack
    begun, drawn = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        frames = world.sample(BATCHES[device], generator).frames
        drawn += len(frames)
        frames.flatten()[0].item()  # a GPU is done only when it answers
    return round(drawn / (time.perf_counter() - begun), 1)


def rates(device: str) -> list[float]:
    """Clips a second, level by level."""
    return [rate(level, device) for level in range(len(LEVELS))]


def main() -> None:
    """Prints the rates."""
    threads = torch.get_num_threads()
    found = {f"cpu, {threads} threads": rates("cpu")}
    torch.set_num_threads(1)
    found["cpu, 1 thread"] = rates("cpu")
    if torch.cuda.is_available():
        found[torch.cuda.get_device_name()] = rates("cuda")
    print(json.dumps({"levels": LEVELS, "clips_per_second": found}))


if __name__ == "__main__":
    main()
