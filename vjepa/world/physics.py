"""The physics world: rigid things that roll, fall, bounce, swing and hide, simulated by MuJoCo.

Every clip has one thing in focus. Its shape, its colour and what happens to it are the labels
`shape`, `colour` and `event`. Whatever else is in the scene stands still, unless it is hit. The
test split has its own sizes, places, speeds, materials and pairings of shape and colour.

MuJoCo is needed to draw clips (`pip install -e .[physics]`), and for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vjepa.errors import InputError
from vjepa.world.physics_events import EVENTS, Setup, put, stand
from vjepa.world.physics_model import EVENT_FRAMES, Course, compile_scene, simulate
from vjepa.world.physics_render import LARGEST, Painter, amodal_boxes, project
from vjepa.world.physics_scene import (
    MOST_THINGS,
    SPLITS,
    PhysicsCamera,
    PhysicsDice,
    PhysicsScene,
    Thing,
    draw_camera,
    draw_room,
    draw_thing,
)
from vjepa.world.physics_things import COLOURS, SHAPE_NAMES, rotation

EVENT_NAMES = tuple(EVENTS)
COLOUR_NAMES = tuple(COLOURS)
ATTEMPTS = 200
"""Scenes drawn for one clip before something must be wrong."""
IN_VIEW = 0.75
"""Share of the frames that show the middle of the thing in focus, at least."""
MARGIN = 0.04
"""Frame sides that count as outside."""
STILL = 0.03
"""Units that a bystander may move."""
BYSTANDERS = (0.35, 0.70, 0.90)
"""Cumulated shares of clips with none, one and two things beside those of the event; else three."""

__all__ = ["COLOUR_NAMES", "EVENT_NAMES", "SHAPE_NAMES", "PhysicsBatch", "PhysicsWorld"]


@dataclass(frozen=True)
class PhysicsBatch:
    """A batch of labelled clips; the first of a clip's things is the one in focus.

    Attributes:
        frames: RGB 0..255.
        shape: of the thing in focus, index into SHAPE_NAMES.
        colour: of the thing in focus, index into COLOUR_NAMES.
        event: what happens to it, index into EVENT_NAMES.
        shapes, colours: of up to four things; -1 where there is none.
        boxes: the part of each thing that shows, x0 y0 x1 y1 in pixels; zeros where none does.
        amodal_boxes: each whole thing, also behind others and beyond the frame.
        distances: of each thing from the camera, in world units; the nearer is in front.
        segmentation: what each pixel shows: 1 for the thing in focus, 2 to 4 for others, 0 for
            no thing.
    """

    frames: UInt8[Tensor, "b t h w 3"]
    shape: Int[Tensor, " b"]
    colour: Int[Tensor, " b"]
    event: Int[Tensor, " b"]
    shapes: Int[Tensor, "b k"]
    colours: Int[Tensor, "b k"]
    boxes: Float[Tensor, "b t k 4"]
    amodal_boxes: Float[Tensor, "b t k 4"]
    distances: Float[Tensor, "b t k"]
    segmentation: UInt8[Tensor, "b t h w"]


class PhysicsWorld:
    """An endless source of labelled clips.

    Args:
        image_size: side of the square frames in pixels.
        num_frames: frames of a clip, at 8 a second.
        split: "train" or "test".
        static: share of what floor and walls show that is noise, new in every frame, 0..1: detail
            that nobody can foresee, and all else as it is without.

    Raises:
        InputError: no such split, frames that are too large, or no share.
    """

    def __init__(
        self,
        image_size: int = 112,
        num_frames: int = 16,
        split: str = "train",
        static: float = 0.0,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"Physics split {split!r} does not exist; use 'train' or 'test'.")
        if not 8 <= image_size <= LARGEST or num_frames < 2:
            raise InputError(
                f"Physics clips of {num_frames} frames at {image_size} px cannot be drawn; ask for "
                f"at least 2 frames at 8 to {LARGEST} px."
            )
        if not 0 <= static <= 1:
            raise InputError(f"static must be a share from 0 to 1, not {static}.")
        self.image_size, self.num_frames, self.split = image_size, num_frames, split
        self.static = static

    def sample(self, n: int, generator: torch.Generator) -> PhysicsBatch:
        """Draws n clips; the same generator state gives the same clips.

        Raises:
            InputError: n is not positive, or MuJoCo or OpenGL is missing.
        """
        if n < 1:
            raise InputError(f"A physics batch of {n} clips cannot be drawn; ask for at least one.")
        seeds = torch.randint(2**62, (n,), generator=generator).tolist()
        return collate([self.clip(seed) for seed in seeds])

    def clip(self, seed: int | Sequence[int], event: str | None = None) -> dict[str, np.ndarray]:
        """One clip with its labels, as arrays named after the attributes of a batch.

        Args:
            seed: of the clip; the same seed gives the same clip.
            event: what it shows, one of EVENT_NAMES; drawn from the seed if None.
        """
        scene, model, course = self.play(seed, event)
        painter = Painter(scene, model, course, self.image_size, self.static)
        try:
            frames, segmentation = painter.pictures(), painter.segmentation()
        finally:
            painter.close()
        return {"frames": frames, "segmentation": segmentation} | labels(
            scene, course, segmentation
        )

    def frames(
        self, seed: int | Sequence[int], event: str | None = None
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """One clip without its labels."""
        return self.render(*self.play(seed, event))

    def render(self, scene: PhysicsScene, model, course: Course) -> UInt8[np.ndarray, "t h w 3"]:
        """Draws a scene's course."""
        painter = Painter(scene, model, course, self.image_size, self.static)
        try:
            return painter.pictures()
        finally:
            painter.close()

    def play(
        self, seed: int | Sequence[int], event: str | None = None
    ) -> tuple[PhysicsScene, object, Course]:
        """A scene that shows an event, its MuJoCo model, and its course.

        Raises:
            InputError: no such event.
        """
        seeds = (seed,) if isinstance(seed, int) else tuple(seed)
        number = _event(seeds, event)
        for attempt in range(1, ATTEMPTS):
            dice = PhysicsDice((*seeds, attempt), self.split)
            scene = draw_scene(dice, number)
            model = compile_scene(scene)
            course = simulate(scene, model, max(self.num_frames, EVENT_FRAMES))
            event_only = course.first(EVENT_FRAMES)
            scene = replace(scene, camera=frame_action(dice, scene, event_only))
            if accepted(scene, event_only):
                return scene, model, course.first(self.num_frames)
        raise RuntimeError(f"No scene of {EVENT_NAMES[number]!r} succeeded from seed {seed}.")


def _event(seeds: tuple[int, ...], name: str | None) -> int:
    """The event of this name, or of these seeds: drawn first, so what often fails is as common."""
    if name is None:
        return int(np.random.default_rng(seeds).integers(len(EVENTS)))
    if name not in EVENTS:
        raise InputError(f"There is no event {name!r}; choose one of {', '.join(EVENT_NAMES)}.")
    return EVENT_NAMES.index(name)


def draw_scene(dice: PhysicsDice, event: int) -> PhysicsScene:
    """All random numbers of a clip that may show this event; its camera looks at nothing yet."""
    kind = EVENTS[EVENT_NAMES[event]]
    setup = kind.prepare(dice, draw_thing(dice, kind.shapes, kind.sizes))
    things = (setup.actor, *setup.others, *draw_bystanders(dice, setup))
    camera = draw_camera(dice, np.zeros(3), np.zeros(3))
    return PhysicsScene(event, things[:MOST_THINGS], setup.blocks, draw_room(dice), camera)


def frame_action(dice: PhysicsDice, scene: PhysicsScene, course: Course) -> PhysicsCamera:
    """A camera that has the way of the thing in focus before it, and what that runs into."""
    actor, hit = scene.things[0], scene.things[1:2] if hits(scene) else ()
    low, high = course.places[:, 0].min(0) - actor.size, course.places[:, 0].max(0) + actor.size
    for thing in hit:
        low = np.minimum(low, np.array(thing.position) - thing.size)
        high = np.maximum(high, np.array(thing.position) + thing.size)
    return draw_camera(dice, low, high)


def hits(scene: PhysicsScene) -> bool:
    """Whether the second thing takes part in the event."""
    return EVENT_NAMES[scene.event] == "collide"


def draw_bystanders(dice: PhysicsDice, setup: Setup) -> list[Thing]:
    """Things that stand around, mostly behind what happens, none in another."""
    count = int(np.searchsorted(BYSTANDERS, dice.uniform(0, 1)))
    placed: list[Thing] = [setup.actor, *setup.others]
    for _ in range(count):
        thing = draw_thing(dice, SHAPE_NAMES, (0.75, 1.3))
        behind = dice.chance(0.85) or bool(setup.blocks)
        y = dice.held(2.0, 4.2) if behind else dice.held(-2.6, -1.6)
        y += 1.4 * any(block.kind == "wedge" for block in setup.blocks)
        thing = put(thing, dice.held(-3.4, 3.4), y, stand(dice, thing.shape_name))
        if all(apart(thing, other) for other in placed):
            placed.append(thing)
    return placed[1 + len(setup.others) :]


def apart(a: Thing, b: Thing) -> bool:
    """Whether two things are certain not to touch."""
    distance = np.linalg.norm(np.array(a.position[:2]) - np.array(b.position[:2]))
    return bool(distance > 1.05 * (a.size + b.size))


def accepted(scene: PhysicsScene, course: Course) -> bool:
    """Whether the event took place, in view, and nothing else did."""
    event = EVENTS[EVENT_NAMES[scene.event]]
    if not np.isfinite(course.places).all():
        return False
    took_place = event.happened(course.places[:, 0], rotation(course.turns[:, 0]))
    return took_place and in_view(scene, course) and bystanders_rest(scene, course)


def in_view(scene: PhysicsScene, course: Course) -> bool:
    """Whether the thing in focus is seen for most of the clip, and large enough in all of it."""
    ways = enumerate(course.places[:, 0])
    seen = np.stack([project(place, scene.camera, frame)[:2] for frame, place in ways])
    inside = ((seen > MARGIN) & (seen < 1 - MARGIN)).all(-1)
    return bool(inside.mean() >= IN_VIEW)


def bystanders_rest(scene: PhysicsScene, course: Course) -> bool:
    """Whether all things but those of the event stood where they were."""
    others = course.places[:, 1 + hits(scene) :]
    return bool((np.abs(others - others[:1]) < STILL).all())


def labels(
    scene: PhysicsScene, course: Course, segmentation: UInt8[np.ndarray, "t h w"]
) -> dict[str, np.ndarray]:
    """What the simulator knows of a clip."""
    side = segmentation.shape[1]
    pad = MOST_THINGS - len(scene.things)
    shapes = [thing.shape for thing in scene.things] + [-1] * pad
    colours = [thing.colour for thing in scene.things] + [-1] * pad
    boxes = [visible_boxes(segmentation == i + 1) for i in range(MOST_THINGS)]
    amodal = amodal_boxes(scene, course) * side
    frames = enumerate(course.places)
    depth = np.stack([project(places, scene.camera, frame)[:, 2] for frame, places in frames])
    return {
        "shape": np.array(shapes[0]),
        "colour": np.array(colours[0]),
        "event": np.array(scene.event),
        "shapes": np.array(shapes),
        "colours": np.array(colours),
        "boxes": np.stack(boxes, 1).astype(np.float32),
        "amodal_boxes": np.pad(amodal, ((0, 0), (0, pad), (0, 0))).astype(np.float32),
        "distances": np.pad(depth, ((0, 0), (0, pad))).astype(np.float32),
    }


def visible_boxes(shows: np.ndarray) -> Float[np.ndarray, "t 4"]:
    """Boxes around the pixels that are true; zeros where none is."""
    boxes = np.zeros((len(shows), 4))
    for frame, mask in enumerate(shows):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[frame] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def collate(clips: Sequence[dict[str, np.ndarray]]) -> PhysicsBatch:
    """Clips as one batch."""
    stacked = {name: torch.from_numpy(np.stack([c[name] for c in clips])) for name in clips[0]}
    return PhysicsBatch(**stacked)
