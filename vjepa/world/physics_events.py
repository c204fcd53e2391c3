"""What happens to the thing in focus: the event classes of the physics world.

No single frame tells them apart. Where physics has a time reversal (there and back, up and down a
ramp, clockwise and counter-clockwise) both directions are classes of the same paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from vjepa.world.physics_scene import Fixture, PhysicsDice, Thing, draw_thing
from vjepa.world.physics_things import (
    AXIS_ACROSS,
    AXIS_AWAY,
    SHAPE_NAMES,
    UPRIGHT,
    Quaternion,
    compose,
    reach,
    rotation,
    turn_about,
)

GRAVITY = 9.81
"""Units a second, squared: a unit is a metre in a world of large toys."""
SECONDS = 1.875
"""From the first frame to the last, of a clip of 16 at 8 a second: what the speeds are made for."""
ROLLERS = ("sphere", "cylinder", "capsule", "torus")
SLIDERS = tuple(shape for shape in SHAPE_NAMES if shape != "sphere")
TALL = ("box", "cylinder", "capsule", "ellipsoid", "torus", "star")
ICE = 0.004
"""Friction of what glides on without slowing down."""


@dataclass(frozen=True)
class Setup:
    """What an event needs: the thing in focus, others that take part, and what stands around."""

    actor: Thing
    others: tuple[Thing, ...] = ()
    blocks: tuple[Fixture, ...] = ()


@dataclass(frozen=True)
class Event:
    """An event class.

    Attributes:
        prepare: draws its random numbers.
        shapes: of the thing in focus.
        sizes: of the thing in focus, units.
        happened: whether the course of the thing in focus shows it: places (T, 3), turns
            (T, 3, 3).
    """

    prepare: Callable[[PhysicsDice, Thing], Setup]
    shapes: tuple[str, ...] = SHAPE_NAMES
    sizes: tuple[float, float] = (1.0, 1.7)
    happened: Callable[[np.ndarray, np.ndarray], bool] = lambda places, turns: True


def stand(dice: PhysicsDice, shape: str) -> Quaternion:
    """A way to lie or stand at rest, turned as one likes about the vertical."""
    yaw = turn_about((0, 0, 1), dice.uniform(-np.pi, np.pi))
    facing = turn_about((0, 0, 1), dice.uniform(-0.6, 0.6))
    if shape == "star":
        return compose(facing, AXIS_AWAY)
    if shape == "torus":
        return compose(facing, AXIS_AWAY) if dice.chance(0.5) else UPRIGHT
    if shape in ("capsule", "ellipsoid"):
        return compose(yaw, AXIS_ACROSS)
    if shape == "cylinder" and dice.chance(0.3):
        return compose(yaw, AXIS_ACROSS)
    return yaw


def put(thing: Thing, x: float, y: float, turn: Quaternion, above: float = 0.0) -> Thing:
    """The thing at a place of the floor, or above it."""
    down = reach(thing.shape_name, thing.size, turn, (0, 0, -1))
    return replace(thing, position=(x, y, down + above), turn=turn)


def going(
    dice: PhysicsDice, thing: Thing, start: tuple, velocity: tuple, turn: Quaternion
) -> Thing:
    """The thing on its way over the floor: it rolls if it can, else it glides."""
    heading = np.arctan2(velocity[1], velocity[0])
    if thing.shape_name in ROLLERS and dice.chance(0.8):
        axle = compose(turn_about((0, 0, 1), heading), AXIS_AWAY)
        thing = put(thing, *start, axle)
        radius = thing.position[2]
        spin = (-velocity[1] / radius, velocity[0] / radius, 0.0)
        return replace(thing, velocity=(*velocity, 0.0), spin=spin, friction=0.9)
    return replace(put(thing, *start, turn), velocity=(*velocity, 0.0), friction=ICE)


def low(dice: PhysicsDice, shape: str) -> Quaternion:
    """A way to lie that nothing topples."""
    yaw = turn_about((0, 0, 1), dice.uniform(-np.pi, np.pi))
    if shape in ("capsule", "ellipsoid"):
        return compose(turn_about((0, 0, 1), dice.uniform(-0.3, 0.3)), AXIS_ACROSS)
    return UPRIGHT if shape in ("star", "torus") else yaw


def move(direction: int) -> Callable[[PhysicsDice, Thing], Setup]:
    """Across the frame, evenly."""

    def prepare(dice: PhysicsDice, thing: Thing) -> Setup:
        half, middle = dice.held(1.4, 2.7), dice.held(-0.6, 0.6)
        velocity = (direction * 2 * half / SECONDS, dice.uniform(-0.25, 0.25))
        start = (middle - direction * half, dice.uniform(-0.6, 0.8))
        return Setup(going(dice, thing, start, velocity, stand(dice, thing.shape_name)))

    return prepare


def come(direction: int) -> Callable[[PhysicsDice, Thing], Setup]:
    """Away from the camera (1) or towards it (-1), evenly."""

    def prepare(dice: PhysicsDice, thing: Thing) -> Setup:
        half, middle = dice.held(2.0, 3.2), dice.uniform(0.2, 1.0)
        drift, x = dice.uniform(-0.3, 0.3), dice.held(-1.6, 1.6)
        velocity = (drift, direction * 2 * half / SECONDS)
        start = (x - drift * SECONDS / 2, middle - direction * half)
        return Setup(going(dice, thing, start, velocity, stand(dice, thing.shape_name)))

    return prepare


def spin(direction: int) -> Callable[[PhysicsDice, Thing], Setup]:
    """About the vertical, on the spot; clockwise (-1) as seen from above."""

    def prepare(dice: PhysicsDice, thing: Thing) -> Setup:
        plain = thing.material.pattern == "plain"
        pattern = dice.pick(("stripes", "checker") if dice.split == "train" else ("dots", "rings"))
        material = replace(thing.material, pattern=pattern) if plain else thing.material
        thing = replace(thing, material=material, friction=ICE, spin=(0, 0, 0))
        thing = put(thing, dice.held(-1.6, 1.6), dice.uniform(-1, 1), stand(dice, thing.shape_name))
        return Setup(replace(thing, spin=(0.0, 0.0, direction * dice.held(1.6, 4.0))))

    return prepare


def throw(direction: int) -> Callable[[PhysicsDice, Thing], Setup]:
    """In a high arc."""

    def prepare(dice: PhysicsDice, thing: Thing) -> Setup:
        half = dice.held(1.5, 2.5)
        rise = dice.held(6.6, 8.4)
        thing = put(thing, -direction * half, dice.uniform(-0.5, 0.8), any_turn(dice), 0.15)
        velocity = (direction * 2 * half / SECONDS, 0.0, rise)
        thing = replace(thing, velocity=velocity, spin=tumble(dice), damping=dice.uniform(0.1, 0.4))
        return Setup(thing)

    return prepare


def drop(dice: PhysicsDice, thing: Thing) -> Setup:
    """From high up, to bounce."""
    x, drift = dice.held(-1.8, 1.8), dice.uniform(-0.4, 0.4)
    thing = put(thing, x, dice.uniform(-0.5, 1), any_turn(dice), dice.held(2.2, 3.8))
    thing = replace(thing, velocity=(drift, 0, 0), damping=dice.uniform(0.06, 0.3))
    return Setup(replace(thing, spin=tumble(dice)))


def any_turn(dice: PhysicsDice) -> Quaternion:
    """A turn in space, all equally likely."""
    quaternion = dice.random.normal(size=4)
    return tuple(map(float, quaternion / np.linalg.norm(quaternion)))


def tumble(dice: PhysicsDice) -> tuple[float, float, float]:
    """A slow turn in the air, radians a second."""
    return tuple(map(float, dice.random.uniform(-1.2, 1.2, 3)))


def stop(dice: PhysicsDice, thing: Thing) -> Setup:
    """Slides and comes to rest, within the clip, by friction alone."""
    direction, speed = dice.pick((-1, 1)), dice.held(3.0, 5.2)
    duration = dice.uniform(0.9, 1.4)
    way = speed * duration / 2
    start = (-direction * way + direction * dice.held(-0.6, 1.4), dice.uniform(-0.6, 0.8))
    thing = put(thing, *start, low(dice, thing.shape_name))
    friction = speed / (GRAVITY * duration)
    return Setup(replace(thing, velocity=(direction * speed, 0, 0), friction=friction))


def collide(dice: PhysicsDice, thing: Thing) -> Setup:
    """Runs into another thing, which goes on in its stead."""
    direction, speed = dice.pick((-1, 1)), dice.held(2.4, 4.0)
    depth = dice.uniform(-0.5, 0.8)
    second = draw_thing(dice, SHAPE_NAMES, (1.1, 1.5))
    second = put(second, direction * dice.held(0.2, 1.2), depth, low(dice, second.shape_name))
    gap = reach(second.shape_name, second.size, second.turn, (-direction, 0, 0))
    turn = low(dice, thing.shape_name)
    gap += reach(thing.shape_name, thing.size, turn, (direction, 0, 0))
    x = second.position[0] - direction * (gap + speed * dice.uniform(0.45, 0.8))
    actor = going(dice, thing, (x, depth + dice.uniform(-0.15, 0.15)), (direction * speed, 0), turn)
    second = replace(second, friction=0.05, damping=0.25)
    return Setup(replace(actor, damping=0.25), (second,))


def rebound(direction: int) -> Callable[[PhysicsDice, Thing], Setup]:
    """Glides into a wall that throws it back to the left (-1) or right (1), at times unseen."""

    def prepare(dice: PhysicsDice, thing: Thing) -> Setup:
        speed, until = dice.held(2.6, 4.4), dice.uniform(0.5, 1.1)
        face, depth = -direction * dice.held(-0.3, 1.2), dice.uniform(-0.4, 0.6)
        turn = low(dice, thing.shape_name)
        gap = reach(thing.shape_name, thing.size, turn, (-direction, 0, 0))
        thing = put(thing, face + direction * (gap + speed * until), depth, turn)
        velocity, damping = (-direction * speed, 0.0, 0.0), dice.uniform(0.03, 0.2)
        thing = replace(thing, velocity=velocity, friction=ICE, damping=damping)
        thick = dice.uniform(0.2, 0.5)
        place, size = (face - direction * thick / 2, depth, 0.0), (thick, 2.4, dice.held(1.8, 3.6))
        wall = Fixture("block", place, size)
        if dice.chance(0.6):
            return Setup(thing, (), (wall,))
        middle = face + direction * gap * dice.uniform(0.3, 1.2)
        screen = (dice.held(1.3, 2.2), 0.25, dice.uniform(1.5, 2.4))
        return Setup(thing, (), (wall, Fixture("block", (middle, -1.4, 0.0), screen)))

    return prepare


def comes_back(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether it ends on the side that it came from, far from where it turned."""
    way = places[:, 0] - places[0, 0]
    far = way[np.abs(way).argmax()]
    return bool(min(np.abs(far), np.sign(far) * (far - way[-1])) > 0.6)


def topple(dice: PhysicsDice, thing: Thing) -> Setup:
    """Stands on end, is pushed and falls over."""
    shape, direction = thing.shape_name, dice.pick((-1, 1))
    flat = shape in ("torus", "star")
    facing = turn_about((0, 0, 1), dice.uniform(-0.5, 0.5))
    turn = compose(facing, AXIS_AWAY) if flat else facing
    thing = put(thing, dice.held(-1.4, 1.4), dice.uniform(-0.4, 0.8), turn)
    push, height = direction * dice.held(0.9, 2.6), thing.position[2]
    over = rotation(facing) @ ([1.0, 0, 0] if flat else [0, 1.0, 0])
    velocity = np.cross(push * over, [0, 0, height])
    return Setup(replace(thing, velocity=tuple(velocity), spin=tuple(push * over), friction=1.0))


def lies_otherwise(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether what pointed up at first points sideways at last."""
    return bool((turns[-1] @ turns[0].T)[2, 2] < 0.45)


def swing(dice: PhysicsDice, thing: Thing) -> Setup:
    """On a rod, from side to side."""
    pivot = (dice.held(-0.7, 0.7), dice.uniform(-0.3, 1.0), dice.uniform(5.0, 5.8))
    length = pivot[2] - thing.size - dice.held(0.25, 1.4)
    angle = dice.pick((-1, 1)) * dice.held(0.45, 0.95)
    start = (pivot[0] + length * np.sin(angle), pivot[1], pivot[2] - length * np.cos(angle))
    turn = turn_about((0, 1, 0), -angle)
    velocity = (dice.uniform(-1.2, 1.2), 0.0, 0.0)
    thing = replace(thing, position=start, turn=turn, velocity=velocity, pivot=pivot)
    return Setup(thing)


def ramp(direction: int) -> Callable[[PhysicsDice, Thing], Setup]:
    """Down a ramp (1) or up (-1); the one played backwards is the other."""

    def prepare(dice: PhysicsDice, thing: Thing) -> Setup:
        side, angle = dice.pick((-1, 1)), dice.held(0.14, 0.36)
        width, depth = 8.5, dice.uniform(2.6, 4.0)
        block = Fixture(
            "wedge",
            (side * dice.uniform(0.2, 1.2), 0.3, 0.0),
            (width, depth, width * np.tan(angle)),
            0.0 if side > 0 else np.pi,
        )
        return Setup(on_ramp(dice, thing, block, angle, side, direction), (), (block,))

    return prepare


def on_ramp(
    dice: PhysicsDice, thing: Thing, block: Fixture, angle: float, side: int, direction: int
) -> Thing:
    """The thing on a ramp that rises to the right (side 1) or left (-1), with its first speed."""
    tilt = turn_about((0, 1, 0), -side * angle)
    rolls = thing.shape_name in ROLLERS
    turn = compose(tilt, AXIS_AWAY if rolls else low(dice, thing.shape_name))
    shares = {"sphere": 2 / 5, "cylinder": 1 / 2, "capsule": 0.45, "torus": 0.54}  # I / m r^2
    pull = GRAVITY * np.sin(angle) / (1 + shares.get(thing.shape_name, 0.0))
    slow = dice.held(0.0, 0.6)
    way = slow * SECONDS + pull * SECONDS**2 / 2
    top = block.size[0] * dice.uniform(0.72, 0.86)
    along = top if direction > 0 else max(top - way, 0.5)
    speed = -slow if direction > 0 else slow + pull * SECONDS
    up = np.array([side * np.cos(angle), 0, np.sin(angle)])
    normal = np.array([-side * np.sin(angle), 0, np.cos(angle)])
    lift = reach(thing.shape_name, thing.size, turn, tuple(-normal)) + 0.01
    foot = np.array([block.position[0] - side * block.size[0] / 2, 0.3, 0.0])
    place = foot + along / np.cos(angle) * up + lift * normal
    velocity = speed * up
    axis = np.cross(normal, up) * (speed / lift) if rolls else np.zeros(3)
    return replace(
        thing,
        position=tuple(map(float, place)),
        turn=turn,
        velocity=tuple(map(float, velocity)),
        spin=tuple(map(float, axis)),
        friction=1.0 if rolls else ICE,
    )


def hide(dice: PhysicsDice, thing: Thing) -> Setup:
    """Goes behind a screen and comes out on its other side."""
    direction, half = dice.pick((-1, 1)), dice.held(1.9, 2.6)
    start = (-direction * half + dice.uniform(-0.3, 0.3), dice.uniform(0.4, 1.2))
    turn = stand(dice, thing.shape_name)
    actor = going(dice, thing, start, (direction * 2 * half / SECONDS, 0.0), turn)
    width = dice.held(1.1, 2.0)
    position = (dice.uniform(-0.4, 0.4), -1.4, 0.0)
    return Setup(actor, (), (Fixture("block", position, (width, 0.25, dice.held(2.4, 3.4))),))


def rest(dice: PhysicsDice, thing: Thing) -> Setup:
    """Stands still."""
    turn = stand(dice, thing.shape_name)
    return Setup(put(thing, dice.held(-2.2, 2.2), dice.uniform(-1, 1.5), turn))


def stays(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether it did not move, save for settling on the floor."""
    return bool(np.abs(places - places[0]).max() < 0.05)


def on_the_spot(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether it stayed upright where it was."""
    return bool(np.abs(places - places[0]).max() < 0.4 and (turns[-1] @ turns[0].T)[2, 2] > 0.9)


def rises(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether it ends clearly higher."""
    return bool(places[-1, 2] - places[0, 2] > 0.35)


def sinks(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether it ends clearly lower."""
    return rises(places[::-1], turns)


def upright(places: Float[np.ndarray, "t 3"], turns: Float[np.ndarray, "t 3 3"]) -> bool:
    """Whether nothing tipped it over."""
    return bool((turns[-1] @ turns[0].T)[2, 2] > 0.9)


SMALL = (0.95, 1.35)
MIDDLING = (1.0, 1.45)

EVENTS: dict[str, Event] = {
    "move_left": Event(move(-1)),
    "move_right": Event(move(1)),
    "come_closer": Event(come(-1), sizes=SMALL),
    "go_away": Event(come(1), sizes=SMALL),
    "spin_cw": Event(spin(-1), sizes=(1.2, 1.8), happened=on_the_spot),
    "spin_ccw": Event(spin(1), sizes=(1.2, 1.8), happened=on_the_spot),
    "throw_left": Event(throw(-1), sizes=MIDDLING),
    "throw_right": Event(throw(1), sizes=MIDDLING),
    "ramp_up": Event(ramp(-1), sizes=MIDDLING, happened=rises),
    "ramp_down": Event(ramp(1), sizes=MIDDLING, happened=sinks),
    "drop": Event(drop, sizes=MIDDLING),
    "stop": Event(stop, SLIDERS, happened=upright),
    "collide": Event(collide, sizes=(1.2, 1.6)),
    "topple": Event(topple, TALL, (1.25, 1.8), lies_otherwise),
    "swing": Event(swing, sizes=MIDDLING),
    "hide": Event(hide, sizes=(1.05, 1.45)),
    "rebound_left": Event(rebound(-1), sizes=SMALL, happened=comes_back),
    "rebound_right": Event(rebound(1), sizes=SMALL, happened=comes_back),
    "rest": Event(rest, sizes=(1.1, 1.8), happened=stays),
}
"""The label `event` is an index into it."""
