"""The rigid things of the physics world: shapes, colours, and how they lie on the floor.

A thing's own axes: z is its axis of symmetry (cylinder, capsule, cone, torus) or points out of the
star's face; quaternions are w x y z. Lengths are world units, of which a frame shows about eight.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

SHAPE_NAMES = ("sphere", "box", "cylinder", "capsule", "ellipsoid", "cone", "torus", "star")
COLOURS = {
    "red": (0.90, 0.11, 0.13),
    "orange": (1.00, 0.50, 0.05),
    "yellow": (0.98, 0.83, 0.10),
    "green": (0.15, 0.68, 0.22),
    "cyan": (0.08, 0.72, 0.80),
    "blue": (0.12, 0.28, 0.88),
    "purple": (0.52, 0.18, 0.76),
    "pink": (0.98, 0.38, 0.66),
}
MESHES = ("cone", "torus", "star")
"""Shapes that MuJoCo does not know; their contacts are those of their convex hulls."""
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
AXIS_AWAY = (0.5**0.5, 0.5**0.5, 0.0, 0.0)
"""A quarter turn about x: the thing's axis points along the line of sight."""
AXIS_ACROSS = (0.5**0.5, 0.0, 0.5**0.5, 0.0)
"""A quarter turn about y: the thing's axis points to the right."""
EXTENTS = {
    "sphere": (0.85, 0.85, 0.85),
    "box": (0.72, 0.66, 0.78),
    "cylinder": (0.66, 0.66, 0.74),
    "capsule": (0.46, 0.46, 1.0),
    "ellipsoid": (0.62, 0.62, 1.0),
    "cone": (0.82, 0.82, 0.82),
    "torus": (0.95, 0.95, 0.30),
    "star": (1.0, 1.0, 0.28),
}
"""Half extents along a thing's own axes, for size 1."""

Quaternion = tuple[float, float, float, float]


def held_out(shape: int, colour: int) -> bool:
    """Whether this shape is seen in this colour in the test split alone: one pairing in five."""
    return (3 * shape + colour) % 5 == 0


@lru_cache(maxsize=1)
def meshes() -> dict[str, tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]]:
    """Corners, within -1..1, and outward triangles of the shapes that are made by code."""
    return {"cone": _cone(), "torus": _torus(), "star": _star()}


def _cone(sides: int = 40):
    """The tip is cut, for a light that glides over it."""
    turn = 2 * np.pi * np.arange(sides) / sides
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    base = np.column_stack([circle, np.full(sides, -1.0)])
    top = np.column_stack([0.06 * circle, np.full(sides, 1.0)])
    return _drum(base, top)


def _star(points: int = 5):
    """Five points, extruded."""
    turn = np.pi / 2 + np.pi * np.arange(2 * points) / points
    radius = np.where(np.arange(2 * points) % 2, 0.5, 1.0)
    outline = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)
    faces = [np.column_stack([outline, np.full(len(outline), z)]) for z in (-1.0, 1.0)]
    return _drum(*faces)


def _drum(bottom: Float[np.ndarray, "n 3"], top: Float[np.ndarray, "n 3"]):
    """Two outlines, their lids and the wall between them."""
    n = len(bottom)
    corners = np.concatenate([bottom, top, [bottom.mean(0)], [top.mean(0)]])
    i, j = np.arange(n), (np.arange(n) + 1) % n
    low, high = np.full(n, 2 * n), np.full(n, 2 * n + 1)
    triangles = [(i, j, n + j), (i, n + j, n + i), (low, j, i), (high, n + i, n + j)]
    return corners, np.concatenate([np.stack(each, 1) for each in triangles])


def _torus(around: int = 48, across: int = 20, thick: float = 0.3 / 0.95):
    """A ring whose tube is round for the extents of EXTENTS."""
    a, b = np.meshgrid(
        2 * np.pi * np.arange(around) / around,
        2 * np.pi * np.arange(across) / across,
        indexing="ij",
    )
    radius = 1 - thick + thick * np.cos(b)
    corners = np.stack([radius * np.cos(a), radius * np.sin(a), np.sin(b)], -1).reshape(-1, 3)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(around), np.arange(across), indexing="ij"))

    def at(row, column):
        return (row % around) * across + column % across

    quads = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
    halves = [np.stack([quads[0], quads[k], quads[k + 1]], 1) for k in (1, 2)]
    return corners, np.concatenate(halves)


@lru_cache(maxsize=len(SHAPE_NAMES))
def surface(shape: str) -> Float[np.ndarray, "p 3"]:
    """Points all over a shape's surface, for size 1; a box around them is one around the shape."""
    extents = np.array(EXTENTS[shape])
    if shape in MESHES:
        return meshes()[shape][0] * extents
    if shape == "box":
        return np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T * extents
    turn = 2 * np.pi * np.arange(32) / 32
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    if shape == "cylinder":
        rings = [np.column_stack([circle, np.full(32, z)]) for z in (-1.0, 1.0)]
        return np.concatenate(rings) * extents
    rise = np.linspace(-np.pi / 2, np.pi / 2, 17)
    ball = [np.column_stack([np.cos(r) * circle, np.full(32, np.sin(r))]) for r in rise]
    if shape == "capsule":
        return _stretched_ball(np.concatenate(ball), extents)
    return np.concatenate(ball) * extents


def _stretched_ball(ball: Float[np.ndarray, "p 3"], extents: Float[np.ndarray, " 3"]):
    points = ball * extents[0]
    points[:, 2] += np.sign(points[:, 2]) * (extents[2] - extents[0])
    return points


def rotation(quaternion: Float[np.ndarray, "*n 4"] | Quaternion) -> Float[np.ndarray, "*n 3 3"]:
    """Matrices of unit quaternions."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion, float), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def compose(outer: Quaternion, inner: Quaternion) -> Quaternion:
    """The turn `inner`, followed by the turn `outer`."""
    a, b = np.array(outer), np.array(inner)
    vector = a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])
    return (float(a[0] * b[0] - a[1:] @ b[1:]), *map(float, vector))


def turn_about(axis: tuple[float, float, float], angle: float) -> Quaternion:
    """The turn by an angle in radians about a unit axis."""
    return (float(np.cos(angle / 2)), *(float(np.sin(angle / 2) * part) for part in axis))


def reach(
    shape: str, size: float, quaternion: Quaternion, direction: tuple[float, float, float]
) -> float:
    """How far a turned thing reaches from its middle in a direction of the world."""
    return size * float((surface(shape) @ rotation(quaternion).T @ np.array(direction)).max())
