"""Do features know their surroundings? `python benchmarks/context_use.py --model MODEL`.

The second half of each clip is replaced by another clip's. What that changes of the features of the
first half, over what differs between two clips there, is printed as JSON, layer by layer: 0 where
a token knows nothing but itself.
"""

from __future__ import annotations

import json

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Generator, Tensor

import vjepa
from vjepa.data.sources import open_source
from vjepa.transformer import Encoder


@torch.no_grad()
def context_use(encoder: Encoder, clips: Float[Tensor, "B C T H W"]) -> list[float]:
    """How much of the features of the first half depends on the second one, by layer, 0..1.

    Args:
        encoder: to ask.
        clips: at least two, normalised.
    """
    half = clips.shape[2] // 2
    mixed = torch.cat([clips[:, :, :half], clips.roll(1, 0)[:, :, half:]], dim=2)
    whole, changed = (encoder.layers(given).float().chunk(2, dim=2)[0] for given in (clips, mixed))
    change = (changed - whole).abs().mean((1, 2, 3))
    between = (whole.roll(1, 1) - whole).abs().mean((1, 2, 3))
    return (change / between).tolist()


def main(model: str = "physics", data: str = "world", clips: int = 16) -> None:
    """Asks both encoders.

    Args:
        model: a name or a path.
        data: clips, as training takes them.
        clips: how many.
    """
    loaded = vjepa.load(model, dtype=torch.float32)
    source = open_source(data, loaded.config, levels=(0, 1, 2, 3, 4), device=torch.device("cpu"))
    given = vjepa.normalize(source.sample(clips, Generator(source.device).manual_seed(0)))
    encoders = {"target encoder": loaded.target_encoder, "context encoder": loaded.encoder}
    found = {name: np.round(context_use(one, given), 4).tolist() for name, one in encoders.items()}
    print(json.dumps({"model": model, "data": data, "clips": clips} | found))


if __name__ == "__main__":
    tyro.cli(main)
