"""Is ViT-L usable on this machine? `python benchmarks/large_models.py`.

Makes a ViT-L of random weights in memory and measures, on the CPU and in one run:

- a mask edit (context encoder on the visible tokens, predictor on the hidden ones), with 10, 25
  and 40 % visible, as a ratio to encoding the whole clip, which `set_clip` does once, in the same
  precision and in plain float32;
- encoding in the machine's default precision, as a ratio to plain float32;
- how close the features of the two precisions are, token by token.

Prints one JSON object; ratios are of medians, of runs that take turns.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from vjepa import checkpoint, config
from vjepa.model import VJEPA
from vjepa.tokens import split

VISIBLE = (0.1, 0.25, 0.4)
REPEATS = 3


def random_model(name: str) -> VJEPA:
    """A model of a published shape, float32, with mask tokens that are not zero."""
    model = VJEPA(config.preset(name)).eval().requires_grad_(False)
    for token in model.predictor.mask_tokens:
        token.normal_(std=0.02)
    return model


def random_mask(grid: tuple[int, int, int], visible: float, generator: Generator) -> Tensor:
    """Hides a random share of the tokens."""
    return torch.rand(grid, generator=generator) >= visible


def edit(model: VJEPA, clips: Tensor, mask: Tensor) -> Tensor:
    """What is computed after the mask has changed."""
    context_idx, target_idx = split(mask)
    context = model.encode_context(clips, context_idx)
    return model.predict(context, context_idx, target_idx)


def seconds(work: Callable[[], Tensor]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(tasks: dict[str, Callable[[], Tensor]]) -> dict[str, float]:
    """Median seconds of each task; they take turns, so that a busy machine slows all alike."""
    for work in tasks.values():
        work()  # warm up
    runs = [{name: seconds(work) for name, work in tasks.items()} for _ in range(REPEATS)]
    return {name: statistics.median(run[name] for run in runs) for name in tasks}


def cosines(ours: Tensor, exact: Tensor) -> dict[str, float]:
    """Similarity of features, over all tokens."""
    similarity = torch.cosine_similarity(ours.float(), exact.float(), dim=-1)
    return {"mean": similarity.mean().item(), "min": similarity.min().item()}


@torch.inference_mode()
def measure(name: str, generator: Generator) -> dict:
    """All numbers for one model."""
    plain = random_model(name)
    dtype = checkpoint.default_dtype(torch.device("cpu"))
    model = copy.deepcopy(plain).to(dtype)
    shape = plain.config
    clips = torch.randn(
        1, 3, shape.num_frames, shape.image_size, shape.image_size, generator=generator
    )
    masks = {f"edit_{v:.0%}": random_mask(shape.grid, v, generator) for v in VISIBLE}
    tasks = {
        "encode": lambda: model.encode(clips),
        "encode_float32": lambda: plain.encode(clips),
        **{edit_: (lambda m=mask: edit(model, clips, m)) for edit_, mask in masks.items()},
    }
    times = in_turns(tasks)
    return {
        "model": name,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "seconds": {task: round(s, 2) for task, s in times.items()},
        "edit_to_encode": {v: round(times[v] / times["encode"], 3) for v in masks},
        "edit_to_float32": {v: round(times[v] / times["encode_float32"], 3) for v in masks},
        "encode_to_float32": round(times["encode"] / times["encode_float32"], 3),
        "cosine_to_float32": cosines(model.encode(clips), plain.encode(clips)),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vitl16", help="a named shape")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(measure(args.model, Generator().manual_seed(args.seed))))


if __name__ == "__main__":
    main()
