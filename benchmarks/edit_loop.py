"""How fast a mask edit is, against the naive way, in one run: `python benchmarks/edit_loop.py`.

An edit runs the context encoder on the visible tokens, the predictor, and the decoder on the
hidden ones, 4 seeds in one batch, 4 steps, in the machine's fastest precision. The naive way
encodes the whole clip again, decodes every token one seed at a time, in float32, 100 steps.

The decode alone, of a mask that hides half of the tokens, is compared with the usual image decoder:
100 steps of a U-Net of as many weights (diffusers' UNet2DModel), frame by frame, the same seeds in
one batch, in the same precision. Two of its steps are timed; all are alike.
Prints one JSON object; times are medians.
"""

from __future__ import annotations

import json
import statistics
import time

import torch
from diffusers import UNet2DModel
from torch import Generator

from decoder import Explorer
from vjepa import masks
from vjepa.data.clips import bundled_clips, normalize
from vjepa.tokens import split

SEEDS, STEPS, NAIVE_STEPS, REPEATS = (0, 1, 2, 3), 4, 100, 7
UNET_WIDTHS = range(16, 129, 8)
CLIP = "cup_tilt_zoom"


def measure_edit(explorer: Explorer, mask: torch.Tensor) -> dict[str, float]:
    """Median milliseconds of each stage, and of the whole edit."""
    explorer.predict(mask, SEEDS, STEPS)  # warm up
    runs = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        timings = explorer.predict(mask, SEEDS, STEPS).timings
        runs.append(timings | {"total": 1000 * (time.perf_counter() - start)})
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


@torch.no_grad()
def measure_naive(explorer: Explorer, mask: torch.Tensor) -> float:
    """Milliseconds of one naive edit: nothing cached, nothing dropped, nothing batched."""
    start = time.perf_counter()
    explorer.set_clip(bundled_clips()[CLIP])
    model, tokens = explorer.model, explorer.config.num_tokens
    every = torch.arange(tokens).unsqueeze(0)
    context_idx, target_idx = split(mask)
    context = model.encode_context(normalize(explorer.frames)[None], context_idx)
    features = torch.zeros(1, tokens, explorer.config.output_dim)
    features[:, target_idx[0]] = model.predict(context, context_idx, target_idx).float()
    for seed in SEEDS:
        generator = Generator().manual_seed(seed)
        explorer.pipeline(
            features, every, ["predicted"], [generator], num_inference_steps=NAIVE_STEPS
        )
    return 1000 * (time.perf_counter() - start)


def unet_like(explorer: Explorer) -> UNet2DModel:
    """The per-frame U-Net whose number of weights is closest to the decoder's.

    Attention only where it is cheapest, at the lowest resolution.
    """
    weights = explorer.pipeline.network.num_parameters()

    def make(width: int) -> UNet2DModel:
        return UNet2DModel(
            sample_size=explorer.config.image_size,
            block_out_channels=(width, 2 * width, 3 * width, 4 * width),
            down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
        )

    with torch.device("meta"):
        best = min(UNET_WIDTHS, key=lambda w: abs(make(w).num_parameters() - weights))
    network = make(best).to(explorer.model.device, explorer.model.dtype).eval()
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def measure_unet(network: UNet2DModel, explorer: Explorer) -> float:
    """Milliseconds of 100 steps over all frames and seeds."""
    config = explorer.config
    size = (len(SEEDS) * config.num_frames, 3, config.image_size, config.image_size)
    noisy = torch.zeros(size, dtype=network.dtype).to(memory_format=torch.channels_last)
    network(noisy[:2], 500)  # warm up
    start = time.perf_counter()
    for _ in range(2):
        network(noisy, 500)
    return 1000 * (time.perf_counter() - start) / 2 * NAIVE_STEPS


def decode_flops(explorer: Explorer, hidden: int) -> float:
    """Multiply-adds of one decode, times two: linear layers and attention."""
    network = explorer.pipeline.network
    width, depth = network.config.width, network.config.depth
    per_token = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Linear))
    attention = 2 * depth * hidden * width
    return 2.0 * hidden * (per_token + attention) * (len(SEEDS) + 1) * STEPS


def matmul_speed(dtype: torch.dtype) -> float:
    """FLOPs a second of a large matrix product, the ceiling to compare with."""
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in "ab")
    a @ b
    start = time.perf_counter()
    for _ in range(10):
        a @ b
    return 10 * 2 * 2048**3 / (time.perf_counter() - start)


def main() -> None:
    """Measures both ways in this run and prints their ratio."""
    explorer = Explorer.load("demo", device="cpu")
    explorer.set_clip(bundled_clips()[CLIP])
    mask = masks.make("short", explorer.grid, Generator().manual_seed(0))
    edit = measure_edit(explorer, mask)
    half = masks.make("random", explorer.grid, Generator().manual_seed(0))
    decode, unet = measure_edit(explorer, half)["decode"], unet_like(explorer)
    unet_ms = measure_unet(unet, explorer)
    flops = decode_flops(explorer, int(mask.sum()))
    speed = matmul_speed(explorer.model.dtype)
    naive = measure_naive(Explorer.load("demo", device="cpu", dtype=torch.float32), mask)
    print(
        json.dumps(
            {
                "hidden": float(mask.float().mean()),
                "seeds": len(SEEDS),
                "steps": STEPS,
                "dtype": str(explorer.model.dtype).removeprefix("torch."),
                "stages_ms": {k: round(v, 1) for k, v in edit.items()},
                "naive_ms": round(naive, 1),
                "ratio_to_naive": round(naive / edit["total"], 1),
                "half_hidden_decode_ms": round(decode, 1),
                "decoder_weights": explorer.pipeline.network.num_parameters(),
                "unet_weights": unet.num_parameters(),
                "unet_ms": round(unet_ms, 1),
                "ratio_to_unet": round(unet_ms / decode, 1),
                "flops": flops,
                "efficiency": round(flops / (edit["decode"] / 1000) / speed, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
