"""How the actor of a world clip moves: motion classes and the paths they draw.

Places are in frame sides, x to the right and y down, origin at the middle of the scene. A pair of
opposite motions draws the same paths and runs them in opposite directions of time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

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
