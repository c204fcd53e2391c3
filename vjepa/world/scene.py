"""The random numbers of world clips: who acts, on which path, seen how; motion classes first.

Places are in frame sides, x to the right and y down, origin at the middle of the scene. A pair of
opposite motions draws the same paths and runs them in opposite directions of time.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vjepa.world.drawing import WRAP, Atlas, Backdrops, Objects

MOTIONS = (
    "move_left",
    "move_right",
    "rise",
    "fall",
    "approach",
    "recede",
    "spin_cw",
    "spin_ccw",
    "orbit_cw",
    "orbit_ccw",
    "bounce",
    "still",
)
# REVERSED[i] is the class of class i played backwards.
REVERSED = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 10, 11)


@dataclass(frozen=True)
class Path:
    """The random numbers of a path; every motion class reads the same ones. All (B,) floats."""

    x: Tensor  # place at the anchor, frame sides
    y: Tensor
    size: Tensor  # of the object at the anchor, frame sides
    anchor: Tensor  # -1..1: how far along a straight path x, y and size hold
    reach: Tensor  # half the distance travelled, frame sides
    growth: Tensor  # half the log of (last size / first size) of an approach
    turn: Tensor  # radians turned by a spin or an orbit in the whole clip
    tilt: Tensor  # slope of a straight path, radians
    lean: Tensor  # angle of the object when it does not spin, radians
    phase: Tensor  # radians: where on its circle an orbit is halfway, and a spin's angle
    ease: Tensor  # 0 = even speed, 1 = slow at both ends


@dataclass(frozen=True)
class Trace:
    """Where the object is in every frame; all (B, T)."""

    x: Tensor  # frame sides
    y: Tensor
    size: Tensor  # frame sides
    angle: Tensor  # radians, clockwise on the screen
    lift: Tensor  # height above the ground, frame sides


def progress(
    direction: Float[Tensor, " b"], ease: Float[Tensor, " b"], frames: int
) -> Float[Tensor, "b t"]:
    """Time from -1 to 1 (or 1 to -1) over the clip, slowed at the ends by `ease`."""
    time = torch.linspace(-1, 1, frames, device=ease.device)
    time = (time - time.flip(0)) / 2  # exactly antisymmetric, so that reversal is exact
    eased = time + ease[:, None] * (torch.sin(torch.pi / 2 * time) - time)
    return direction[:, None] * eased


def trace(motion: Int[Tensor, " b"], path: Path, frames: int) -> Trace:
    """The course of each clip's object.

    Args:
        motion: index into MOTIONS per clip.
        path: random numbers of the clips.
        frames: length of the clips.
    """
    u = progress(1.0 - 2.0 * (motion % 2).float(), path.ease, frames)  # +1 first of a pair
    reach, tilt = path.reach[:, None], path.tilt[:, None]
    moves, rises, grows, spins, orbits = (_is(motion, first) for first in range(0, 10, 2))
    bounces = (motion == 10)[:, None]

    v = u - path.anchor[:, None]
    circle = path.phase[:, None] + path.turn[:, None] / 2 * u
    hop = (torch.pi * (path.turn[:, None] / 3.2) * u + path.phase[:, None] / 2).sin().abs()
    # The first of the straight pairs goes left, and up (y points down).
    x = moves * -reach * v + rises * -reach * v * tilt.sin() + orbits * reach * circle.cos()
    y = rises * -reach * v * tilt.cos() + moves * -reach * v * tilt.sin()
    y = y + orbits * reach * circle.sin() + bounces * reach * (1 - 2 * hop)
    size = path.size[:, None] * torch.exp(grows * path.growth[:, None] * v)
    angle = torch.where(spins, circle, path.lean[:, None].expand_as(u))
    x, y = path.x[:, None] + x, path.y[:, None] + y
    airborne = rises | orbits | bounces
    lift = airborne * ((y.amax(1, keepdim=True) - y).clamp(min=0))
    return Trace(x, y, size, angle, lift)


def _is(motion: Tensor, first: int) -> Tensor:
    return (motion // 2 == first // 2)[:, None] & (motion < 10)[:, None]


SIZES = ((0.35, 0.60), (0.24, 0.54), (0.24, 0.52), (0.24, 0.52), (0.24, 0.52))  # by level

NOISE_STARTS = 1 << 16  # places in the noise bank where a piece may begin


@dataclass(frozen=True)
class Stage:
    """What the clips of a world have in common: their difficulty, their format and the pack."""

    level: int
    image_size: int
    num_frames: int
    device: torch.device
    objects: Objects
    backdrops: Backdrops
    posts: Atlas


@dataclass(frozen=True)
class Camera:
    """Where the camera looks, (B, T) each: pan in frame sides, zoom as a factor."""

    x: Tensor
    y: Tensor
    zoom: Tensor


@dataclass(frozen=True)
class Viewpoint:
    """Which part of a backdrop is seen when the camera is at rest, (B,) each."""

    picture: Tensor  # index of the backdrop
    x: Tensor  # middle, pixels of the picture
    y: Tensor
    width: Tensor  # columns seen; negative = mirrored
    horizon: Tensor  # frame sides below the middle of the scene


@dataclass(frozen=True)
class Prop:
    """A distractor that stands still in the scene, (B,) each."""

    cell: Tensor
    x: Tensor
    y: Tensor
    size: Tensor
    flip: Tensor  # 1 or -1
    present: Tensor  # 1.0 or 0.0


@dataclass(frozen=True)
class Post:
    """An opaque post in front of the actor, (B,) each."""

    cell: Tensor
    x: Tensor
    width: Tensor
    flip: Tensor
    present: Tensor


@dataclass(frozen=True)
class Scene:
    """Everything that is random in a batch of clips; what a level does not draw is ignored."""

    appearance: Tensor  # (B,) index into CATEGORIES
    motion: Tensor  # (B,) index into MOTIONS
    identity: Tensor  # (B,) cell of the actor
    flip: Tensor  # (B,) 1 or -1
    present: Tensor  # (B,) 1.0, or 0.0 where the actor is left out; never drawn at random
    path: Path
    camera: Camera
    view: Viewpoint
    colours: Tensor  # (B, 2, 3) of the plain backdrop
    ramp: Tensor  # (B,) direction of the plain backdrop's gradient
    prop: Prop
    post: Post
    exposure: Tensor  # (B,) brightness factor of the camera
    noise: Tensor  # (B,) strength of the sensor noise, 0..1 colours
    noise_start: Tensor  # (B, 3, T) place in the noise bank for each colour


def take_rows(scene, rows: slice):
    """The clips `rows` of a scene, or of a part of one."""
    if isinstance(scene, Tensor):
        return scene[rows]
    parts = {field.name: take_rows(getattr(scene, field.name), rows) for field in fields(scene)}
    return type(scene)(**parts)


class Dice:
    """Random numbers from one generator, delivered on one device."""

    def __init__(self, generator: torch.Generator, device: torch.device):
        self.generator, self.device = generator, device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Floats between low and high."""
        draw = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return (low + (high - low) * draw).to(self.device)

    def sign(self, *shape: int) -> Tensor:
        """-1.0 or 1.0 with equal chance."""
        return (self.uniform(-1, 1, *shape) < 0).float() * 2 - 1

    def chance(self, share: float, *shape: int) -> Tensor:
        """1.0 in about `share` of the cases, else 0.0."""
        return (self.uniform(0, 1, *shape) < share).float()

    def below(self, count: int | Tensor, *shape: int) -> Tensor:
        """Integers from 0 to count - 1."""
        return (self.uniform(0, 1, *shape) * count).long().clamp(max=count - 1)

    def balanced(self, classes: int, n: int) -> Int[Tensor, " n"]:
        """n labels, each class as often as the others (give or take one), in random order."""
        start = self.below(classes, 1)
        order = self.uniform(0, 1, n).argsort()
        return ((torch.arange(n, device=self.device) + start) % classes)[order]


def draw_scene(stage: Stage, n: int, generator: torch.Generator) -> Scene:
    """Draws the random numbers of n clips.

    Every level draws the same numbers in the same order, so levels differ by their look alone.
    """
    dice = Dice(generator, stage.device)
    categories = int(stage.objects.category.max()) + 1
    appearance = dice.balanced(categories, n)
    path = draw_path(dice, stage.level, n)
    view = draw_view(dice, stage, n)
    return Scene(
        appearance=appearance,
        motion=dice.balanced(len(MOTIONS), n),
        identity=pick_cell(dice, stage, appearance),
        flip=dice.sign(n),
        present=torch.ones(n, device=stage.device),
        path=path,
        camera=draw_camera(dice, stage, n),
        view=view,
        colours=dice.uniform(0.05, 0.95, n, 2, 3),
        ramp=dice.uniform(0, 2 * torch.pi, n),
        prop=draw_prop(dice, stage, path, n),
        post=draw_post(dice, stage, path, n),
        exposure=dice.uniform(0.8, 1.12, n),
        noise=dice.uniform(0.0, 0.025, n),
        noise_start=dice.below(NOISE_STARTS, n, 3, stage.num_frames),
    )


def pick_cell(dice: Dice, stage: Stage, category: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """A random drawing of a random thing of each category; one random number says both.

    Things are equally frequent, however many drawings they have.
    """
    objects = stage.objects
    things, drawings = (v.to(category.device) for v in (objects.things, objects.drawings))
    counts = torch.bincount(things[things >= 0])
    first = counts.cumsum(0) - counts  # the things of a category follow each other
    place = dice.uniform(0, 1, len(category)) * counts[category]
    within = torch.minimum(place.long(), counts[category] - 1)
    thing = first[category] + within
    drawing = torch.minimum(((place - within) * drawings[thing]).long(), drawings[thing] - 1)
    return (drawings.cumsum(0) - drawings)[thing] + drawing


def draw_path(dice: Dice, level: int, n: int) -> Path:
    """Places, sizes and speeds; none depends on the motion class.

    The places hold at a random moment, so that one frame hardly tells which way a thing is going.
    """
    return Path(
        x=dice.uniform(-0.25, 0.25, n),
        y=dice.uniform(-0.22, 0.25, n),
        size=dice.uniform(*map(math.log, SIZES[level]), n).exp(),
        anchor=dice.uniform(-1, 1, n),
        reach=dice.uniform(0.09, 0.18, n),
        growth=dice.uniform(0.2, 0.35, n),
        turn=dice.uniform(3.2, 6.0, n),
        tilt=dice.uniform(-0.35, 0.35, n),
        lean=dice.uniform(-0.25, 0.25, n),
        phase=dice.uniform(0, 2 * torch.pi, n),
        ease=dice.uniform(0, 0.8, n),
    )


def draw_camera(dice: Dice, stage: Stage, n: int) -> Camera:
    """A slow pan and zoom with a little sway; at rest below level 2."""
    time = torch.linspace(-1, 1, stage.num_frames, device=stage.device)
    pan_x, pan_y = dice.uniform(-0.2, 0.2, n, 1), dice.uniform(-0.05, 0.05, n, 1)
    growth, wave = dice.uniform(-0.13, 0.13, n, 1), dice.uniform(0, 2 * torch.pi, n, 1)
    sway = dice.uniform(0, 0.02, n, 1) * (2 * time + wave).sin()
    moving = float(stage.level >= 2)
    x, y = moving * (pan_x * time + sway), moving * (pan_y * time - sway)
    return Camera(x, y, torch.exp(moving * growth * time))


def draw_view(dice: Dice, stage: Stage, n: int) -> Viewpoint:
    """A part of a backdrop that holds the whole camera path, near one texture pixel a pixel."""
    backdrops = stage.backdrops
    picture = dice.below(len(backdrops.names), n)
    rows, columns = backdrops.height[picture], backdrops.width[picture]
    wraps = backdrops.wraps[picture]
    width = stage.image_size * dice.uniform(0.85, 1.1, n)
    width = torch.minimum(width, torch.minimum(rows, columns) / 1.30).clamp(max=WRAP / 1.64)
    half = 0.82 * width  # farthest column seen on any camera path
    margin = 0.64 * width  # farthest row
    free = torch.where(wraps, columns, columns - 2 * half)
    x = half + free.clamp(min=0) * dice.uniform(0, 1, n)
    line = rows * torch.where(wraps, 0.5, 0.45)  # where the horizon is in the picture
    y = line + width * dice.uniform(0.0, 0.22, n)
    y = torch.minimum(torch.maximum(y, margin), rows - margin)
    return Viewpoint(picture, x, y, width * dice.sign(n), (line - y) / width)


def draw_prop(dice: Dice, stage: Stage, path: Path, n: int) -> Prop:
    """A smaller thing to the side of the actor, in two clips of three."""
    props = stage.objects.ids(-1).to(stage.device)
    size = dice.uniform(0.18, 0.32, n)
    side = -path.x.sign() * dice.uniform(0.3, 0.5, n)
    return Prop(
        cell=props[dice.below(len(props), n)],
        x=(path.x + side).clamp(-0.42, 0.42),
        y=dice.uniform(-0.1, 0.3, n),
        size=size,
        flip=dice.sign(n),
        present=dice.chance(0.67, n),
    )


def draw_post(dice: Dice, stage: Stage, path: Path, n: int) -> Post:
    """A post beside the middle of the path: what moves passes behind it, nothing stays hidden."""
    width = dice.uniform(0.16, 0.30, n)
    aside = dice.sign(n) * (width / 2 + dice.uniform(0.03, 0.28, n))
    return Post(
        cell=dice.below(stage.posts.count, n),
        x=path.x + aside,
        width=width,
        flip=dice.sign(n),
        present=dice.chance(0.6, n),
    )
