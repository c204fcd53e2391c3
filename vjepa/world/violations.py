"""Possible and impossible clips of the world, matched so that no single frame tells them apart.

As in IntPhys (Riochet et al. 2018): two possible scenes A and B share every random number but one
thing about the actor, and two impossible clips are spliced from them, the first half of one with
the second half of the other. Every frame is as often in a possible clip as in an impossible one;
what is wrong with a clip lies between its frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor

from vjepa.errors import InputError
from vjepa.world.scene import Dice, Scene, Stage, pick_cell
from vjepa.world.world import CATEGORIES, World

POSTS_FROM = 4
"""The lowest level of the world that draws posts, behind which a violation can happen unseen."""


@dataclass(frozen=True)
class Pairs:
    """Possible clips and the impossible ones that are the same from `start` on.

    Attributes:
        possible: A and B of every scene.
        impossible: the first half of B then A, and the first half of A then B.
        start: the first frame after the violation; the middle of the clip.
    """

    possible: UInt8[Tensor, "n 2 T H W 3"]
    impossible: UInt8[Tensor, "n 2 T H W 3"]
    start: int


def draw_pairs(world: World, kind: str, hidden: bool, n: int, generator: Generator) -> Pairs:
    """Draws n scenes with two pairs each.

    Args:
        world: gives size, split and level.
        kind: what is wrong, one of KINDS.
        hidden: whether it happens behind a post, with nothing of the actor to be seen in the
            frames on either side of the splice; else in plain view.
        n: number of scenes.
        generator: of the scenes.

    Raises:
        InputError: no such kind, a level without posts, or no scenes.
    """
    if kind not in KINDS:
        raise InputError(f"There is no violation {kind!r}; choose one of {', '.join(KINDS)}.")
    if world.level < POSTS_FROM:
        raise InputError(f"World level {world.level} has no posts: use level {POSTS_FROM}.")
    if n < 1:
        raise InputError(f"{n} scenes cannot be drawn; ask for at least one.")
    dice = Dice(generator, world.stage.device)
    scene = _pass_by(world.draw(n, generator), dice, world.num_frames, hidden)
    clips = [world.render(each).frames for each in KINDS[kind](world.stage, scene, dice)]
    start = world.num_frames // 2
    return Pairs(torch.stack(clips, 1), _splice(*clips, start), start)


def _splice(
    a: UInt8[Tensor, "n T H W 3"], b: UInt8[Tensor, "n T H W 3"], start: int
) -> UInt8[Tensor, "n 2 T H W 3"]:
    """B then A, and A then B."""
    first = torch.cat([b[:, :start], a[:, start:]], 1)
    second = torch.cat([a[:, :start], b[:, start:]], 1)
    return torch.stack([first, second], 1)


def _pass_by(scene: Scene, dice: Dice, frames: int, hidden: bool) -> Scene:
    """The scene with an actor that crosses the middle, where a post covers it halfway or none does.

    It is as fast as the fastest actors of the training clips, so that it has time to be seen on
    either side, and small, so that a post can cover it in both middle frames.
    """
    n = len(scene.motion)
    size, reach = dice.uniform(0.20, 0.26, n), dice.uniform(0.16, 0.18, n)
    path = replace(
        scene.path,
        x=dice.uniform(-0.08, 0.08, n),
        y=dice.uniform(-0.06, 0.06, n),
        size=size,
        anchor=torch.zeros_like(size),  # x and y hold halfway
        reach=reach,
    )
    aside = 1.5 * reach / (frames - 1)  # at most, in the frames beside the middle
    width = 1.15 * size + 2 * aside
    post = replace(scene.post, x=path.x, width=width, present=torch.full_like(size, float(hidden)))
    return replace(scene, motion=dice.below(2, n), path=path, post=post)  # to the left or right


def _vanish(stage: Stage, scene: Scene, dice: Dice) -> tuple[Scene, Scene]:
    """In B there is no actor."""
    return scene, replace(scene, present=torch.zeros_like(scene.present))


def _change(stage: Stage, scene: Scene, dice: Dice) -> tuple[Scene, Scene]:
    """In B the actor is a thing of another category."""
    shift = 1 + dice.below(len(CATEGORIES) - 1, len(scene.appearance))
    other = (scene.appearance + shift) % len(CATEGORIES)
    return scene, replace(scene, appearance=other, identity=pick_cell(dice, stage, other))


def _teleport(stage: Stage, scene: Scene, dice: Dice) -> tuple[Scene, Scene]:
    """A and B follow the same path, one a good actor's height above the other."""
    n = len(scene.motion)
    shift = dice.sign(n) * dice.uniform(0.14, 0.17, n)
    paths = (replace(scene.path, y=scene.path.y + sign * shift) for sign in (1, -1))
    return tuple(replace(scene, path=path) for path in paths)


KINDS: dict[str, Callable[[Stage, Scene, Dice], tuple[Scene, Scene]]] = {
    "vanish": _vanish,
    "change": _change,
    "teleport": _teleport,
}
"""What can be wrong: what A and B differ in."""
