"""Training clips of several sources, mixed: `"8*world+pans+bundled"`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor

from vjepa.config import ModelConfig
from vjepa.data.world import World
from vjepa.errors import InputError

if TYPE_CHECKING:
    from vjepa.data.sources import Source

PAN_LEVEL = 2
"""The easiest level of the world whose camera moves."""


class Pans:
    """The camera moves over panoramas and photos, and nobody acts."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.device = device
        size = (config.image_size, config.num_frames)
        self.world = World(PAN_LEVEL, *size, split="train", device=str(device))

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        scene = self.world.draw(count, generator)
        return self.world.render(replace(scene, present=torch.zeros_like(scene.present))).frames


class Mixture:
    """Every clip is of one of several sources, by chance.

    Args:
        sources: on any device.
        shares: how often each is drawn from, relative to the others.
    """

    def __init__(self, sources: Sequence[Source], shares: Sequence[float]) -> None:
        self.sources, self.shares = sources, torch.tensor(shares, dtype=torch.float32)
        self.device = sources[0].device

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames, source by source."""
        seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
        dice = Generator().manual_seed(seed)
        drawn = torch.multinomial(self.shares, count, replacement=True, generator=dice)
        counts = drawn.bincount(minlength=len(self.sources)).tolist()
        parts = [
            source.sample(n, Generator(source.device).manual_seed(seed + i)).to(self.device)
            for i, (source, n) in enumerate(zip(self.sources, counts, strict=True))
            if n
        ]
        return torch.cat(parts)


def parse(data: str) -> list[tuple[float, str]]:
    """Shares and names of a mixture's sources.

    Raises:
        InputError: a share that is no positive number, or a name that is missing.
    """
    return [_parse_part(part.strip(), data) for part in data.split("+")]


def _parse_part(part: str, data: str) -> tuple[float, str]:
    share, star, name = part.partition("*")
    if not star:
        share, name = "1", part
    try:
        number = float(share)
    except ValueError:
        number = 0.0
    if not (0 < number < float("inf") and name.strip()):
        raise InputError(
            f"{data!r} is no mixture: write sources with + between them, and how often each is "
            "drawn before a *, as in 8*world+pans+bundled."
        )
    return number, name.strip()
