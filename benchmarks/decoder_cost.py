"""What training a decoder costs, by size: operations counted, hours from a rate that is given.

Prints the table of docs/decoder.md: `python benchmarks/decoder_cost.py --teraflops 300`.
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from decoder.network import SIZES, Size
from decoder.training.estimate import hidden_tokens
from vjepa.config import ModelConfig, preset

BATCH = 32
STEPS = {"demo": 3_000, "B": 100_000, "L": 200_000}
"""Of a run: the bundled decoder's, and what DiT's own sizes suggest; not tried here."""
LATENTS = 4 * 2 * 2 * 2
"""Numbers in a tubelet of four-channel latents, a latent for 8 x 8 pixels."""
OVERLAP = 4


@dataclass(frozen=True)
class Cost:
    """Operations of one training sample.

    Attributes:
        asked: of the frozen model: context encoder, predictor, and the targets' share.
        learned: of the decoder: forward, backward, and blocks computed again.
    """

    asked: float
    learned: float


def blocks(tokens: int, width: int, depth: int) -> float:
    """Operations of a transformer's blocks: twelve width^2 matrices, and attention."""
    return depth * (24 * tokens * width**2 + 4 * tokens**2 * width)


def network_flops(size: Size, tokens: int, tubelet: int, drawn: int, features: int) -> float:
    """Operations of one pass of the decoder, but for what all tokens share."""
    ends = 2 * tokens * size.width * (tubelet + features + drawn)
    return blocks(tokens, size.width, size.depth) + ends


def model_flops(shape: ModelConfig, targets: int, target_share: float) -> float:
    """Operations of what the frozen model is asked about one clip."""
    whole, seen = shape.num_tokens, shape.num_tokens - targets
    context = blocks(seen, shape.embed_dim, shape.depth)
    predictor = blocks(whole, shape.predictor_embed_dim, shape.predictor_depth)
    return context + predictor + target_share * blocks(whole, shape.embed_dim, shape.depth)


def sample_cost(shape: ModelConfig, name: str, *, latents: bool = False) -> Cost:
    """Of one clip behind a mask of mean size."""
    targets = hidden_tokens(shape, shape.num_tokens).mean
    drawn = 3 * shape.tubelet_size * (shape.patch_size + 2 * OVERLAP) ** 2
    ends = (LATENTS, LATENTS) if latents else (shape.tubelet_dim, drawn)
    forward = network_flops(SIZES[name], targets, *ends, shape.output_dim)
    again = 0 if name == "demo" else blocks(targets, SIZES[name].width, SIZES[name].depth)
    return Cost(model_flops(shape, targets, 0.25), 3 * forward + again)


def main(model: str = "vitl16", teraflops: float = 300.0) -> None:
    """Prints the table.

    Args:
        model: the shape of the frozen model.
        teraflops: operations a second, in 10^12, that the GPU is taken to do.
    """
    shape = preset(model)
    print("| size | weights | clips | asked, TFLOP a clip | learned, TFLOP a clip | hours |")
    print("|---|---|---|---|---|---|")
    for name, size in SIZES.items():
        clips, cost = BATCH * STEPS[name], sample_cost(shape, name)
        hours = clips * (cost.asked + cost.learned) / (teraflops * 1e12) / 3600
        weights = 12 * size.depth * size.width**2 / 1e6
        print(
            f"| {name} | {weights:.0f} M | {clips:,} | {cost.asked / 1e12:.2f} | "
            f"{cost.learned / 1e12:.2f} | {hours:.1f} |"
        )


if __name__ == "__main__":
    tyro.cli(main)
