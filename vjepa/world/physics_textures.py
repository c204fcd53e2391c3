"""Procedural materials: patterns on things, floors and walls, computed by their formulas.

A pattern gives every point a number from 0 to 1, which blends two tones. The train split never
shows the patterns of the test split, save that both have plain things, floors and walls.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

CUBE = 64
"""Side of the six faces of a thing's texture, in pixels."""
TILE = 256
"""Side of a floor's or wall's texture, in pixels; it repeats without a seam."""
THING_PATTERNS = {
    "train": ("plain", "stripes", "checker", "gradient", "marble"),
    "test": ("plain", "dots", "rings"),
}
ROOM_PATTERNS = {
    "train": ("plain", "plain", "tiles", "planks", "clouds"),
    "test": ("plain", "bricks", "waves"),
}

Pattern = Callable[[Float[np.ndarray, "*p 3"], float, Float[np.ndarray, " 8"]], np.ndarray]


def _soft(values: np.ndarray, slope: float = 6.0) -> np.ndarray:
    """A step at zero with smooth edges, from 0 to 1."""
    return np.clip(0.5 + slope * values, 0, 1)


def _plain(p, scale, phase):
    return np.zeros(p.shape[:-1])


def _stripes(p, scale, phase):
    axis = phase[:3] - 0.5
    axis = axis / np.linalg.norm(axis)
    return _soft(np.sin(np.pi * scale * (p @ axis) + 6 * phase[3]), 2.5)


def _checker(p, scale, phase):
    return _soft(np.prod(np.sin(np.pi * scale * 0.7 * p + 0.4 + phase[:3]), -1), 12)


def _gradient(p, scale, phase):
    axis = phase[:3] - 0.5
    return 0.5 + 0.5 * p @ (axis / np.linalg.norm(axis))


def _marble(p, scale, phase):
    swirl = sum(
        np.sin(k * scale * np.roll(p, k, -1) @ (phase[k : k + 3] + 0.3) + 9 * phase[k])
        for k in (1, 2, 3)
    )
    return _soft(np.sin(scale * p[..., 2] + 1.2 * swirl), 0.8)


def _dots(p, scale, phase):
    lattice = np.sin(np.pi * scale * 0.8 * p + 6 * phase[:3])
    return _soft(np.abs(lattice).sum(-1) - 2.1, 4)


def _rings(p, scale, phase):
    pole = phase[:3] - 0.5
    angle = np.arccos(np.clip(p @ (pole / np.linalg.norm(pole)), -1, 1))
    return _soft(np.sin(2.2 * scale * angle), 2.5)


_ON_THINGS: dict[str, Pattern] = {
    "plain": _plain,
    "stripes": _stripes,
    "checker": _checker,
    "gradient": _gradient,
    "marble": _marble,
    "dots": _dots,
    "rings": _rings,
}


def thing_texture(
    pattern: str,
    tones: Float[np.ndarray, "2 3"],
    scale: float,
    phase: Float[np.ndarray, " 8"],
) -> UInt8[np.ndarray, "rows cube 3"]:
    """The six faces of a cube map, one below the other, in the order +x -x +y -y +z -z.

    Args:
        pattern: one of THING_PATTERNS.
        tones: RGB 0..1 where the pattern is 0 and 1.
        scale: waves over the thing, about.
        phase: random numbers 0..1 that place and turn the pattern.
    """
    return _blend(_ON_THINGS[pattern](_cube_directions(), scale, phase), tones)


def _cube_directions() -> Float[np.ndarray, "rows cube 3"]:
    """The unit direction that each pixel of a cube map is seen in (OpenGL 4.6, table 8.19)."""
    side = (np.arange(CUBE) + 0.5) / CUBE * 2 - 1
    t, s = np.meshgrid(side, side, indexing="ij")
    one = np.ones_like(s)
    faces = [(one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one)]
    points = np.concatenate([np.stack(face, -1) for face in faces])
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def _blend(values: np.ndarray, tones: Float[np.ndarray, "2 3"]) -> UInt8[np.ndarray, "h w 3"]:
    colours = tones[0] + values[..., None] * (tones[1] - tones[0])
    return (255 * np.clip(colours, 0, 1)).round().astype(np.uint8)


def _tiles(u, v, count, phase):
    return _soft(np.maximum(np.abs(_saw(u * count)), np.abs(_saw(v * count))) - 0.46, 30)


def _planks(u, v, count, phase):
    row = np.floor(v * count)
    shade = (row * (0.37 + phase[0])) % 1.0
    return 0.6 * shade + 0.4 * _soft(np.abs(_saw(v * count)) - 0.47, 30)


def _bricks(u, v, count, phase):
    shift = u * count / 2 + 0.5 * (np.floor(v * count) % 2)
    return _soft(np.maximum(np.abs(_saw(shift)), np.abs(_saw(v * count))) - 0.45, 30)


def _waves(u, v, count, phase):
    return 0.5 + 0.5 * np.sin(2 * np.pi * (count * v + 0.25 * np.sin(2 * np.pi * 2 * u)))


def _clouds(u, v, count, phase):
    waves = [(1, 2), (2, -1), (3, 1), (-1, 3), (4, -3), (2, 5)]
    total = sum(
        np.sin(2 * np.pi * (a * u + b * v + phase[i])) / (1 + i) for i, (a, b) in enumerate(waves)
    )
    return np.clip(0.5 + 0.35 * total, 0, 1)


def _saw(x: np.ndarray) -> np.ndarray:
    """From -0.5 to 0.5 in every unit."""
    return x % 1.0 - 0.5


_IN_ROOMS = {
    "plain": lambda u, v, count, phase: np.zeros_like(u),
    "tiles": _tiles,
    "planks": _planks,
    "bricks": _bricks,
    "waves": _waves,
    "clouds": _clouds,
}


def room_texture(
    pattern: str,
    tones: Float[np.ndarray, "2 3"],
    count: int,
    phase: Float[np.ndarray, " 8"],
) -> UInt8[np.ndarray, "tile tile 3"]:
    """A square that repeats without a seam.

    Args:
        pattern: one of ROOM_PATTERNS.
        tones: RGB 0..1 where the pattern is 0 and 1.
        count: even number of waves along the square.
        phase: random numbers 0..1 that the pattern is placed by.
    """
    side = (np.arange(TILE) + 0.5) / TILE
    v, u = np.meshgrid(side, side, indexing="ij")
    return _blend(_IN_ROOMS[pattern](u, v, count, phase), tones)
