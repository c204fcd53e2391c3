"""Training clips that are drawn on the fly: the world, the physics world, a camera over photos."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Generator, Tensor

from vjepa.config import ModelConfig
from vjepa.reading.timing import Crop


class WorldSource:
    """Clips drawn by the world, every level equally often."""

    count = None

    def __init__(self, config: ModelConfig, levels: tuple[int, ...], device: torch.device) -> None:
        self.config, self.levels, self.device = config, levels, device
        world = import_module("vjepa.world.world")
        self.worlds = [
            world.World(
                level, config.image_size, config.num_frames, split="train", device=str(device)
            )
            for level in levels
        ]

    def __reduce__(self) -> tuple:
        return type(self), (self.config, self.levels, self.device)  # not its pictures

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        counts = np.bincount(np.arange(count) % len(self.worlds), minlength=len(self.worlds))
        batches = [
            world.sample(int(n), generator).frames
            for world, n in zip(self.worlds, counts, strict=True)
            if n
        ]
        return torch.cat(batches)

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip, of a level by chance."""
        level = int(torch.randint(len(self.worlds), (), generator=generator))
        own = _on_device(generator, self.device)
        return crop(self.worlds[level].sample(1, own).frames[0].cpu().numpy())


class PhysicsSource:
    """Clips of the physics world (pip install -e .[physics]): some a second, on each core."""

    device = torch.device("cpu")
    count = None

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        import_module("vjepa.world.physics_gl").load_mujoco()  # said now where it is missing

    def __reduce__(self) -> tuple:
        return type(self), (self.config,)

    @cached_property
    def _world(self) -> Any:
        physics = import_module("vjepa.world.physics")
        return physics.PhysicsWorld(self.config.image_size, self.config.num_frames)

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        return torch.stack([torch.from_numpy(self._frames(generator)) for _ in range(count)])

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip."""
        return crop(self._frames(generator))

    def _frames(self, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        key = torch.randint(2**31, (2,), generator=generator).tolist()
        return np.ascontiguousarray(self._world.frames(tuple(key)))


PAN_LEVEL = 2
"""The easiest level of the world whose camera moves."""


class Pans(WorldSource):
    """The camera moves over panoramas and photos, and nobody acts."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        super().__init__(config, (PAN_LEVEL,), device)
        (self.world,) = self.worlds

    def __reduce__(self) -> tuple:
        return type(self), (self.config, self.device)

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        scene = self.world.draw(count, generator)
        return self.world.render(replace(scene, present=torch.zeros_like(scene.present))).frames

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip."""
        return crop(self.sample(1, _on_device(generator, self.device))[0].cpu().numpy())


def _on_device(generator: Generator, device: torch.device) -> Generator:
    seed = int(torch.randint(2**62, (), generator=generator))
    return Generator(device).manual_seed(seed)
