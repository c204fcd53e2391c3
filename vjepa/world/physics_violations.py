"""Impossible clips of the physics world, each frame of which is possible.

As in IntPhys (Riochet et al. 2018): two possible scenes A and B share room, light and camera and
differ in the thing in focus alone. Two impossible clips are spliced from their frames, the first
half of one with the second half of the other; what is wrong lies between the frames. Only a thing
that hangs in the air has no possible scene to be spliced from: there, one frame is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Generator

from vjepa.errors import InputError
from vjepa.world.physics import ATTEMPTS, EVENT_NAMES, PhysicsWorld
from vjepa.world.physics_events import ICE, any_turn, low, put, stand, tumble
from vjepa.world.physics_model import FPS, compile_scene, simulate
from vjepa.world.physics_render import amodal_boxes, project
from vjepa.world.physics_scene import (
    Fixture,
    PhysicsCamera,
    PhysicsDice,
    PhysicsScene,
    Thing,
    draw_room,
    draw_thing,
)
from vjepa.world.physics_things import SHAPE_NAMES, reach
from vjepa.world.violations import Pairs

SCREEN = -2.0
"""How far behind the middle the screen stands, units; negative is nearer to the camera."""
LANE = 0.3
"""How far behind the middle things pass by."""
SHOWN = 0.6
"""Share of the thing's width that the screen leaves free at first and at last."""
UNSEEN = 8
"""Grey levels that nobody sees."""

Clip = UInt8[np.ndarray, "t h w 3"]


@dataclass(frozen=True)
class Violation:
    """A way to be impossible.

    Attributes:
        scenes: draws A and B; told the time of the splice in seconds, and whether it is hidden.
        hides: whether it can happen behind a screen, unseen.
        splice: makes the two impossible clips from A, B and the first frame after the splice.
    """

    scenes: Callable[[PhysicsDice, float, bool], tuple[PhysicsScene, PhysicsScene]]
    hides: bool
    splice: Callable[[Clip, Clip, int], tuple[Clip, Clip]]


def draw_pairs(world: PhysicsWorld, kind: str, hidden: bool, n: int, generator: Generator) -> Pairs:
    """Draws n scenes with two pairs each.

    Args:
        world: gives size and split.
        kind: what is wrong, one of KINDS.
        hidden: whether it happens behind a screen, with nothing of the thing to be seen in the
            frames on either side of the splice; else in plain view.
        n: number of scenes.
        generator: of the scenes.

    Raises:
        InputError: no such kind, one that cannot be hidden, or no scenes.
    """
    if kind not in KINDS:
        raise InputError(f"There is no violation {kind!r}; choose one of {', '.join(KINDS)}.")
    if hidden and not KINDS[kind].hides:
        raise InputError(f"The violation {kind!r} cannot happen unseen: draw it in plain view.")
    if n < 1:
        raise InputError(f"{n} scenes cannot be drawn; ask for at least one.")
    seeds = torch.randint(2**62, (n,), generator=generator).tolist()
    start = world.num_frames // 2
    clips = [_clips(world, KINDS[kind], hidden, seed, start) for seed in seeds]
    possible, impossible = (torch.from_numpy(np.stack(each)) for each in zip(*clips, strict=True))
    return Pairs(possible, impossible, start)


def _clips(
    world: PhysicsWorld, kind: Violation, hidden: bool, seed: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """The possible and the impossible clips of one scene, (2, T, H, W, 3) each."""
    for attempt in range(1, ATTEMPTS):
        dice = PhysicsDice((seed, attempt), world.split)
        scenes = kind.scenes(dice, (start - 0.5) / FPS, hidden)
        models = [compile_scene(scene) for scene in scenes]
        courses = list(map(simulate, scenes, models, [world.num_frames] * 2))
        unseen = not hidden or all(map(_is_hidden, scenes, courses, (start, start)))
        if unseen and all(map(_shows, scenes, courses)):
            a, b = (world.render(*each) for each in zip(scenes, models, courses, strict=True))
            if not hidden or _alike(a, b, start):
                return np.stack([a, b]), np.stack(kind.splice(a, b, start))
    raise RuntimeError(f"No scene succeeded from seed {seed}.")


def _shows(scene: PhysicsScene, course) -> bool:
    """Whether the thing is in the frame, and not behind the screen, at first and at last."""
    if not scene.things:
        return True
    boxes = amodal_boxes(scene, course)[[0, -1], 0]
    if (boxes < 0).any() or (boxes > 1).any():
        return False
    cover = _screen_box(scene)
    if cover is None:
        return True
    overlap = np.minimum(boxes[:, 2], cover[2]) - np.maximum(boxes[:, 0], cover[0])
    stands = np.abs(course.places[-1, 0] - course.places[0, 0]).max() < 0.5
    return bool(stands or (overlap < (1 - SHOWN) * (boxes[:, 2] - boxes[:, 0])).all())


def _is_hidden(scene: PhysicsScene, course, start: int) -> bool:
    """Whether the screen covers the whole thing on either side of the splice."""
    if not scene.things:
        return True
    cover = _screen_box(scene)
    boxes = amodal_boxes(scene, course)[start - 1 : start + 1, 0]
    return bool((boxes[:, :2] >= cover[:2]).all() and (boxes[:, 2:] <= cover[2:]).all())


def _alike(a: Clip, b: Clip, start: int) -> bool:
    """Whether nothing, not even a shadow, tells A from B on either side of the splice."""
    seam = slice(start - 1, start + 1)
    return bool((np.abs(a[seam].astype(int) - b[seam]) < UNSEEN).all())


def _screen_box(scene: PhysicsScene) -> Float[np.ndarray, " 4"] | None:
    """The part of the frame that the screen's front certainly covers."""
    screens = [block for block in scene.blocks if block.position[1] == SCREEN]
    if not screens:
        return None
    (x, y, z), (width, depth, height) = screens[0].position, screens[0].size
    corners = [
        (x + side * width / 2, y - depth / 2, z + up) for side in (-1, 1) for up in (0, height)
    ]
    seen = project(np.array(corners), scene.camera, 0)[:, :2].reshape(2, 2, 2)
    left, right = seen
    return np.array([left[:, 0].max(), max(left[1, 1], right[1, 1]), right[:, 0].min(), 2.0])


def _camera(dice: PhysicsDice, half: float, height: float = 1.3) -> PhysicsCamera:
    """A camera that stands and has a stretch of the floor before it."""
    azimuth, target = 90 + dice.uniform(-7, 7), (0.0, 0.0, height)
    distance = (half + 0.4) / np.tan(np.radians(20)) + dice.uniform(0, 1)
    return PhysicsCamera(
        (target, target), float(distance), (azimuth, azimuth), dice.uniform(13, 20)
    )


def _screen(camera: PhysicsCamera, width: float, height: float) -> Fixture:
    """A screen between the camera and the middle of the lane, that hides a width there."""
    turn, rise = np.radians(camera.azimuth[0]), np.radians(camera.elevation)
    back = camera.distance * np.cos(rise)
    eye = np.array([-back * np.cos(turn), -back * np.sin(turn)])
    share = (SCREEN - eye[1]) / (LANE - eye[1])
    return Fixture(
        "block", (float(eye[0] * (1 - share)), SCREEN, 0.0), (width * share, 0.25, height)
    )


def _scene(
    dice: PhysicsDice,
    things: tuple[Thing, ...],
    blocks: tuple[Fixture, ...],
    camera: PhysicsCamera,
    event: str,
) -> PhysicsScene:
    return PhysicsScene(EVENT_NAMES.index(event), things, blocks, draw_room(dice), camera)


def _pass_by(dice: PhysicsDice, middle: float, hidden: bool) -> PhysicsScene:
    """A thing that glides across, in the middle at the time of the splice."""
    direction, half = dice.pick((-1, 1)), dice.uniform(2.4, 2.8)
    thing = _still(dice, draw_thing(dice, SHAPE_NAMES, (0.9, 1.2)))
    speed = direction * half / middle
    thing = replace(_at(thing, -speed * middle), velocity=(speed, 0.0, 0.0))
    camera = _camera(dice, half + thing.size)
    width = 2 * thing.size + 2 * half / middle / FPS + 0.2
    blocks = (_screen(camera, width, 3.2),) if hidden else ()
    return _scene(dice, (thing,), blocks, camera, f"move_{'right' if direction > 0 else 'left'}")


def _still(dice: PhysicsDice, thing: Thing) -> Thing:
    """A thing that lies in the middle of the lane, on ice."""
    thing = put(thing, 0.0, LANE, stand(dice, thing.shape_name))
    return replace(thing, velocity=(0.0, 0.0, 0.0), friction=ICE)


def _at(thing: Thing, x: float, y: float | None = None) -> Thing:
    """The thing at another place of the floor."""
    _, lane, z = thing.position
    return replace(thing, position=(x, lane if y is None else y, z))


def _vanish(dice: PhysicsDice, middle: float, hidden: bool) -> tuple[PhysicsScene, PhysicsScene]:
    """In B there is no thing."""
    scene = _pass_by(dice, middle, hidden)
    return scene, replace(scene, things=())


def _change(dice: PhysicsDice, middle: float, hidden: bool) -> tuple[PhysicsScene, PhysicsScene]:
    """In B it is a thing of another shape and another colour."""
    scene = _pass_by(dice, middle, hidden)
    thing = other = scene.things[0]
    while other.shape == thing.shape or other.colour == thing.colour:
        other = draw_thing(dice, SHAPE_NAMES, (0.9, 1.2))
    other = _at(_still(dice, replace(other, size=thing.size)), thing.position[0])
    return scene, replace(scene, things=(replace(other, velocity=thing.velocity),))


def _teleport(dice: PhysicsDice, middle: float, hidden: bool) -> tuple[PhysicsScene, PhysicsScene]:
    """In B it passes by at the same time, much farther behind."""
    scene = _pass_by(dice, middle, hidden)
    thing, lanes = scene.things[0], (-0.5, dice.uniform(2.6, 3.2))
    a, b = (replace(scene, things=(_at(thing, thing.position[0], y),)) for y in lanes)
    return a, b


def _stop(dice: PhysicsDice, middle: float, hidden: bool) -> tuple[PhysicsScene, PhysicsScene]:
    """In B it stands where that of A is at the time of the splice."""
    scene = _pass_by(dice, middle, hidden)
    return scene, replace(scene, things=(_still(dice, scene.things[0]),))


def _pass_through(
    dice: PhysicsDice, middle: float, hidden: bool
) -> tuple[PhysicsScene, PhysicsScene]:
    """A wall stands in the way; the thing is reflected on its left in A and on its right in B."""
    thing = _still(dice, draw_thing(dice, SHAPE_NAMES, (0.65, 0.85)))
    thing = put(thing, 0.0, LANE, low(dice, thing.shape_name))
    thick, speed = 0.3, dice.uniform(2.2, 2.6) / middle
    # Together a wall and a thing behind a screen are wide: the thing is small.
    wall = Fixture("block", (0.0, LANE, 0.0), (thick, 2.6, 3.4 if hidden else 2.0))
    scenes = []
    half = speed * middle + 2 * thing.size
    camera = _camera(dice, half)
    width = 4 * thing.size + thick + 2 * speed / FPS + 0.2
    blocks = (wall, _screen(camera, width, 2.4)) if hidden else (wall,)
    for side in (-1, 1):
        gap = thick / 2 + reach(thing.shape_name, thing.size, thing.turn, (-side, 0, 0))
        moving = replace(thing, velocity=(-side * speed, 0.0, 0.0), damping=0.03)
        scenes.append(_at(moving, side * (gap + speed * middle)))
    first = _scene(dice, (scenes[0],), blocks, camera, "rebound_left")
    return first, replace(first, things=(scenes[1],), event=EVENT_NAMES.index("rebound_right"))


def _hang(dice: PhysicsDice, middle: float, hidden: bool) -> tuple[PhysicsScene, PhysicsScene]:
    """It is thrown, to the left in A and to the right in B."""
    thing = draw_thing(dice, SHAPE_NAMES, (1.0, 1.3))
    thing = put(thing, 0.0, LANE, any_turn(dice), 0.15)
    speed, rise, half = dice.uniform(2.0, 2.6), dice.uniform(7.2, 8.2), 2.4 + thing.size
    thing = replace(thing, spin=tumble(dice), damping=0.4)
    thrown = tuple(
        replace(_at(thing, -side * speed * middle), velocity=(side * speed, 0.0, rise))
        for side in (-1, 1)
    )
    first = _scene(dice, thrown[:1], (), _camera(dice, half, 2.4), "throw_left")
    return first, replace(first, things=thrown[1:], event=EVENT_NAMES.index("throw_right"))


def _exchange(a: Clip, b: Clip, start: int) -> tuple[Clip, Clip]:
    """B then A, and A then B: each ends as the possible clip of the same number does."""
    first, second = (np.concatenate([x[:start], y[start:]]) for x, y in ((b, a), (a, b)))
    return first, second


def _freeze(a: Clip, b: Clip, start: int) -> tuple[Clip, Clip]:
    """A hangs in the air and then goes on its way; B goes on its way and then hangs in the air."""
    waits = np.concatenate([np.repeat(a[start : start + 1], start, 0), a[start:]])
    stops = np.concatenate([b[:start], np.repeat(b[start - 1 : start], len(b) - start, 0)])
    return waits, stops


KINDS: dict[str, Violation] = {
    "vanish": Violation(_vanish, True, _exchange),
    "change": Violation(_change, True, _exchange),
    "teleport": Violation(_teleport, True, _exchange),
    "pass_through": Violation(_pass_through, True, _exchange),
    "stop": Violation(_stop, False, _exchange),
    "hang": Violation(_hang, False, _freeze),
}
"""What can be wrong."""
CASES = tuple((k, h) for k, h in product(KINDS, (False, True)) if KINDS[k].hides or not h)
"""Every kind in plain view and, if it can be, behind a screen."""
