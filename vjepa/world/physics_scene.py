"""What is in a clip of the physics world: all its random numbers, before anything moves.

The frame shows about eight units at the place of action. x goes to the right, y away from the
camera, z up from the floor. The test split has its own sizes, places and speeds (slices of their
ranges that training never draws), its own materials, and pairings of shape and colour.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from vjepa.world.physics_textures import ROOM_PATTERNS, THING_PATTERNS
from vjepa.world.physics_things import COLOURS, SHAPE_NAMES, UPRIGHT, Quaternion, held_out

SPLITS = ("train", "test")
MOST_THINGS = 4
TEST_SLICES = (2, 7)
"""Of ten slices of every held-out range: those of the test split."""
TEST_PAIRINGS = 0.5
"""Share of the test split's things in a pairing of shape and colour that training never shows."""
FIELD_OF_VIEW = 40.0
"""Vertical, in degrees."""

Vector = tuple[float, float, float]
Option = TypeVar("Option")


class PhysicsDice:
    """The random numbers of one clip.

    Args:
        seed: of the clip; the same seed gives the same clip.
        split: "train" or "test".
    """

    def __init__(self, seed: int | Sequence[int], split: str) -> None:
        self.random = np.random.default_rng(seed)
        self.split = split
        test = split == "test"
        self.slices = [i for i in range(10) if (i in TEST_SLICES) == test]

    def uniform(self, low: float, high: float) -> float:
        """A number of a range that both splits share."""
        return float(self.random.uniform(low, high))

    def held(self, low: float, high: float) -> float:
        """A number of this split's slices of a range."""
        part = (self.pick(self.slices) + self.random.random()) / 10
        return float(low + part * (high - low))

    def pick(self, options: Sequence[Option]) -> Option:
        """One of the options, all equally likely."""
        return options[int(self.random.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True in this share of draws."""
        return bool(self.random.random() < share)

    def phase(self) -> Float[np.ndarray, " 8"]:
        """Eight numbers 0..1."""
        return self.random.random(8)


@dataclass(frozen=True)
class Surface:
    """A pattern in two tones."""

    pattern: str
    tones: Float[np.ndarray, "2 3"]
    scale: float
    phase: Float[np.ndarray, " 8"]


@dataclass(frozen=True)
class Thing:
    """A rigid thing at the first frame.

    Attributes:
        shape: index into SHAPE_NAMES.
        colour: index into COLOURS.
        size: units; the extents of its shape are multiplied by it.
        material: how its surface looks.
        position, turn: of its middle.
        velocity: units a second.
        spin: radians a second, about the axes of the world.
        friction: Coulomb's coefficient against whatever it touches.
        damping: share of critical damping in its contacts: it bounces the higher, the smaller.
        pivot: where the rod that it hangs on is fixed, or None.
    """

    shape: int
    colour: int
    size: float
    material: Surface
    position: Vector = (0.0, 0.0, 0.0)
    turn: Quaternion = UPRIGHT
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    friction: float = 0.8
    damping: float = 0.7
    pivot: Vector | None = None

    @property
    def shape_name(self) -> str:
        """One of SHAPE_NAMES."""
        return SHAPE_NAMES[self.shape]


@dataclass(frozen=True)
class Fixture:
    """Something that never moves: a screen, a wall, or (as a wedge) a ramp.

    Attributes:
        kind: "block", or "wedge", whose height grows from 0 on the left to full on the right.
        position: its middle on the floor.
        size: full width, depth and height.
        turn: about the vertical, radians.
    """

    kind: str
    position: Vector
    size: Vector
    turn: float = 0.0


@dataclass(frozen=True)
class PhysicsCamera:
    """Where the camera looks when an event begins and when it ends; evenly in between.

    Attributes:
        target: the points that are in the middle of the frame.
        distance: from them, units.
        azimuth: degrees; 90 looks away along y.
        elevation: degrees above the target.
    """

    target: tuple[Vector, Vector]
    distance: float
    azimuth: tuple[float, float]
    elevation: float


@dataclass(frozen=True)
class Room:
    """Floor, walls and light.

    Attributes:
        floor, wall: their materials.
        back: how far behind the middle the wall stands, units.
        side: where a side wall stands (x, negative is left), or None; opposite the light.
        sun: direction of the light.
        brightness: of the light, 0..1.
        block: RGB 0..1 of screens, ramps and rods.
    """

    floor: Surface
    wall: Surface
    back: float
    side: float | None
    sun: Vector
    brightness: float
    block: Float[np.ndarray, " 3"]


@dataclass(frozen=True)
class PhysicsScene:
    """All that a clip is made of; the first thing is the one in focus."""

    event: int
    things: tuple[Thing, ...]
    blocks: tuple[Fixture, ...]
    room: Room
    camera: PhysicsCamera


def draw_look(dice: PhysicsDice, shapes: Sequence[str] = SHAPE_NAMES) -> tuple[int, int]:
    """A shape of these and a colour, in a pairing of the dice's split."""
    only_test = dice.split == "test" and dice.chance(TEST_PAIRINGS)
    shape = SHAPE_NAMES.index(dice.pick(shapes))
    fits = [c for c in range(len(COLOURS)) if _allowed(shape, c, dice.split, only_test)]
    return shape, dice.pick(fits)


def _allowed(shape: int, colour: int, split: str, only_test: bool) -> bool:
    held = held_out(shape, colour)
    return (not held) if split == "train" else (held or not only_test)


def draw_thing(dice: PhysicsDice, shapes: Sequence[str], sizes: tuple[float, float]) -> Thing:
    """A thing of one of these shapes, at no place yet."""
    shape, colour = draw_look(dice, shapes)
    return Thing(shape, colour, dice.held(*sizes), draw_material(dice, colour))


def draw_material(dice: PhysicsDice, colour: int) -> Surface:
    """A pattern in a colour and a lighter or darker tone of it."""
    base = np.array(list(COLOURS.values())[colour]) * dice.uniform(0.92, 1.0)
    base = np.clip(base + (dice.random.random(3) - 0.5) * 0.06, 0, 1)
    light = base + (1 - base) * dice.uniform(0.4, 0.7)
    second = light if dice.chance(0.7) else base * dice.uniform(0.55, 0.72)
    pattern = dice.pick(THING_PATTERNS[dice.split])
    return Surface(pattern, np.stack([base, second]), dice.held(2.0, 4.5), dice.phase())


def draw_room(dice: PhysicsDice) -> Room:
    """A calm room: pale walls, a floor of another tone."""
    hue = dice.held(0, 1)
    wall = _pale(dice, hue, (0.06, 0.24), (0.80, 0.97))
    floor_hue = (hue + dice.uniform(0.3, 0.7)) % 1 if dice.chance(0.6) else hue
    floor = _pale(dice, floor_hue, (0.08, 0.30), (0.66, 0.88))
    block = _pale(dice, dice.held(0, 1), (0.10, 0.35), (0.50, 0.82))
    sun = (dice.pick((-1, 1)) * dice.uniform(0.1, 0.7), dice.uniform(0.45, 0.8), -1.0)
    # A wall on the other side would keep the light out.
    side = float(np.sign(sun[0])) * dice.uniform(8.0, 10.0) if dice.chance(0.3) else None
    return Room(
        floor=_room_material(dice, floor),
        wall=_room_material(dice, wall),
        back=dice.uniform(7.5, 11.0),
        side=side,
        sun=sun,
        brightness=dice.uniform(0.50, 0.64),
        block=block,
    )


def _pale(
    dice: PhysicsDice, hue: float, saturation: tuple, value: tuple
) -> Float[np.ndarray, " 3"]:
    return np.array(colorsys.hsv_to_rgb(hue, dice.uniform(*saturation), dice.uniform(*value)))


def _room_material(dice: PhysicsDice, tone: Float[np.ndarray, " 3"]) -> Surface:
    second = np.clip(tone * dice.uniform(0.80, 0.90), 0, 1)
    pattern = dice.pick(ROOM_PATTERNS[dice.split])
    return Surface(pattern, np.stack([tone, second]), dice.pick((2, 4)), dice.phase())


def draw_camera(
    dice: PhysicsDice, low: Float[np.ndarray, " 3"], high: Float[np.ndarray, " 3"]
) -> PhysicsCamera:
    """A camera that stands (60 % of clips), pans or orbits, and keeps the action in the frame.

    Args:
        dice: of the clip.
        low, high: corners of the room that the action takes, units.
    """
    half = np.maximum(high - low, 0)[[0, 2]].max() / 2
    room = max(4.0 - half, 0.3)
    x = (low[0] + high[0]) / 2 + dice.uniform(-0.45, 0.45) * room
    z = (low[2] + high[2]) / 2 + dice.uniform(-0.05, 0.25) * room
    azimuth = 90 + dice.uniform(-18, 18)
    pan = dice.pick((-1, 1)) * dice.held(0.4, 1.1) if dice.chance(0.2) else 0.0
    orbits = not pan and dice.chance(0.25)
    orbit = dice.pick((-1, 1)) * dice.held(4, 11) if orbits else 0.0
    fits = 1.15 * half / np.tan(np.radians(FIELD_OF_VIEW / 2))
    return PhysicsCamera(
        target=((x - pan, 0.0, z), (x + pan, 0.0, z)),
        distance=max(dice.uniform(8.0, 10.0), fits),
        azimuth=(azimuth - orbit, azimuth + orbit),
        elevation=dice.uniform(9, 22),
    )
