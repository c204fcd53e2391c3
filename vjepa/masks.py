"""Masks over the token grid: bool (t, h, w), True = hidden.

First the paper's multi-block masks (section 3.2 and appendix C), and what training makes of masks:
`collate` turns a batch into index tensors of equal length, `draw_masks` draws what a step predicts
behind. Then the masks of a person who explores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from vjepa.config import MASK_TYPES
from vjepa.errors import InputError

Grid = tuple[int, int, int]
ASPECT_RATIO = (0.75, 1.5)


KINDS = {"short": (8, 0.15), "long": (2, 0.7)}
"""The paper's two mask types: how many blocks are hidden, and the share of the frame of each."""


def multiblock(grid: Grid, kind: str = "short", *, generator: Generator) -> Bool[Tensor, "t h w"]:
    """One multi-block mask: the union of blocks that span all time steps.

    Args:
        grid: (t, h, w).
        kind: "short" or "long".
        generator: of the block shape and positions.

    Raises:
        InputError: an unknown kind.
    """
    return multiblock_batch(grid, 1, kind, generator=generator)[0]


def multiblock_batch(
    grid: Grid,
    batch: int,
    kind: str = "short",
    *,
    generator: Generator,
    shared: Generator | None = None,
) -> Bool[Tensor, "B t h w"]:
    """Multi-block masks for a batch: one block shape for all, positions of their own.

    Args:
        grid: (t, h, w).
        batch: how many.
        kind: "short" or "long".
        generator: of the positions.
        shared: of the block shape, where other batches are to have the same; `generator` if None.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"There is no mask kind {kind!r}; choose one of {', '.join(KINDS)}.")
    t, h, w = grid
    count, scale = KINDS[kind]
    block = block_shape(h, w, scale, shared or generator)
    frames = _draw_frames(h, w, block, batch, count, generator)
    return frames.unsqueeze(1).expand(batch, t, h, w).contiguous()


def block_shape(h: int, w: int, scale: float, generator: Generator) -> tuple[int, int]:
    """Height and width of a block: the area fixed, the aspect ratio uniform in (.75, 1.5).

    Args:
        h, w: of the frame, in tokens.
        scale: the block's share of it.
        generator: of the aspect ratio.
    """
    area = int(h * w * scale)
    low, high = ASPECT_RATIO
    aspect = low + (high - low) * torch.rand((), generator=generator).item()
    rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(rows, 1), h), min(max(columns, 1), w)


def _draw_frames(
    h: int, w: int, block: tuple[int, int], batch: int, count: int, generator: Generator
) -> Bool[Tensor, "B h w"]:
    """Unions of `count` blocks, each redrawn until something stays visible."""
    rows, columns = block
    if block == (h, w):
        raise InputError(f"A grid of {h} x {w} is too small for blocks of {rows} x {columns}.")
    room = [h - rows + 1, w - columns + 1] * count
    masks = torch.ones(batch, h, w, dtype=torch.bool)
    while len(full := masks.flatten(1).all(1).nonzero().flatten()):
        drawn = [int(torch.randint(n, (), generator=generator)) for _ in full for n in room]
        top, left = torch.tensor(drawn).view(len(full), count, 2, 1).unbind(2)
        down, across = torch.arange(h) - top, torch.arange(w) - left  # (B', count, h or w)
        inside = ((down >= 0) & (down < rows)).unsqueeze(-1)
        inside = inside & ((across >= 0) & (across < columns)).unsqueeze(-2)
        masks[full] = inside.any(1)
    return masks


def collate(
    masks: Bool[Tensor, "B t h w"], *, generator: Generator, max_targets: int | None = None
) -> tuple[Int64[Tensor, "B K"], Int64[Tensor, "B M"]]:
    """Index tensors of equal length, each sample's surplus dropped at random.

    Masks of a batch hide different numbers of tokens; a tensor wants one number. Dropping a
    random subset treats all time steps alike; the official code drops the end of the clip.

    Args:
        masks: True = hidden.
        generator: chooses which surplus tokens are dropped.
        max_targets: at most this many targets a sample (a cheaper predictor); 0 or None: all.

    Returns:
        context_idx (B, K) and target_idx (B, M), each row in order.
    """
    hidden = masks.flatten(1)
    fewest = int(hidden.sum(1).min())
    return (
        _subset(~hidden, int((~hidden).sum(1).min()), generator),
        _subset(hidden, min(fewest, max_targets or fewest), generator),
    )


def _subset(
    members: Bool[Tensor, "B N"], count: int, generator: Generator
) -> Int64[Tensor, "B count"]:
    """`count` random members of each row, in order."""
    keys = torch.rand(members.shape, generator=generator).masked_fill(~members, 2.0)
    return keys.topk(count, dim=1, largest=False, sorted=False).indices.sort(1).values


class MaskBatch(NamedTuple):
    """What one mask type hides in a batch: visible and hidden token indices."""

    context_idx: Int64[Tensor, "B K"]
    target_idx: Int64[Tensor, "B M"]
    mask_type: str | int

    def to(self, device: torch.device) -> MaskBatch:
        """The same indices on a device."""
        moved = (idx.to(device, non_blocking=True) for idx in self[:2])
        return MaskBatch(*moved, self.mask_type)

    def part(self, rows: slice) -> MaskBatch:
        """The indices of some clips."""
        return MaskBatch(self.context_idx[rows], self.target_idx[rows], self.mask_type)


def draw_masks(
    grid: Grid,
    batch_size: int,
    max_targets: int,
    generator: Generator,
    *,
    shared: Generator | None = None,
    future: float = 0.0,
    span: float = 0.0,
    motion: Float[Tensor, "B t h w"] | None = None,
) -> list[MaskBatch]:
    """Both mask types for clips whose masks are cut to one length.

    Args:
        grid: (t, h, w).
        batch_size: masks of each type.
        max_targets: hidden tokens that are kept of each mask; 0: all that the shortest has.
        generator: of everything that is drawn.
        shared: of what all batches of a step have in common, the block shapes and the dice for
            `future` and `span`, so that none of them waits for another; `generator` if None.
        future: chance that the long-range masks hide the rest of the clip instead.
        span: chance that they are boxes over a part of the time instead (`span_batch`).
        motion: how much each token's pixels move: half of those boxes then hide what moves.
    """
    drawn, common = [], shared or generator
    for kind in MASK_TYPES:
        hidden = multiblock_batch(grid, batch_size, kind, generator=generator, shared=shared)
        if kind == "long" and future + span:
            dice = torch.rand((), generator=common)
            if dice < future:
                hidden = _draw_future(grid, common).expand(batch_size, *grid)
            elif dice < future + span:
                follows = motion if dice < future + span / 2 else None
                hidden = span_batch(grid, batch_size, generator=generator, motion=follows)
        indices = collate(hidden, generator=generator, max_targets=max_targets)
        drawn.append(MaskBatch(*indices, kind))
    return drawn


def _draw_future(grid: Grid, generator: Generator) -> Bool[Tensor, "t h w"]:
    keep = 1 + int(torch.randint(max(grid[0] // 2, 1), (), generator=generator))
    return future(grid, min(keep, grid[0] - 1))


def span_batch(
    grid: Grid, batch: int, *, generator: Generator, motion: Float[Tensor, "B t h w"] | None = None
) -> Bool[Tensor, "B t h w"]:
    """Boxes over a part of the time, as a person hides a thing that was, or will be, seen.

    Size and length are drawn once for all, places and time for each clip: half of the masks last
    to the end ("from a moment on"), the others lie anywhere in time. Without `motion` there are one
    or two boxes anywhere; with it there is one, around a token drawn by how much it moves while it
    is hidden. One box hides equally many tokens wherever it lies: masks of clips that this process
    does not have keep their length.

    Args:
        grid: (t, h, w).
        batch: how many.
        generator: of everything that is drawn.
        motion: how much each token's pixels move.
    """

    def number(low: int, high: int) -> int:
        return low + int(torch.randint(max(high - low, 0) + 1, (), generator=generator))

    t, h, w = grid
    rows, columns = (number(max(side // 3, 1), max(3 * side // 4, 1)) for side in (h, w))
    steps = number(max(t // 4, 1), max(7 * t // 8, 1))
    motion, count = (torch.ones(batch, *grid), number(1, 2)) if motion is None else (motion, 1)
    masks = torch.zeros(batch, *grid, dtype=torch.bool)
    for clip, mask in enumerate(masks):
        start = t - steps if number(0, 1) else number(0, t - steps)
        for _ in range(count):
            moves = motion[clip, start : start + steps].sum(0)
            top, left = _around(moves, (rows, columns), generator)
            mask |= box(grid, (start, start + steps), (top, top + rows), (left, left + columns))
    return masks


def _around(
    weights: Float[Tensor, "h w"], size: tuple[int, int], generator: Generator
) -> tuple[int, int]:
    """Top and left of a box around a place that is drawn by its weight, inside of the frame."""
    drawn = int(torch.multinomial(weights.flatten() + 1e-9, 1, generator=generator))
    corners = zip(divmod(drawn, weights.shape[1]), size, weights.shape, strict=True)
    return tuple(min(max(at - long // 2, 0), side - long) for at, long, side in corners)


def tube(grid: Grid, ratio: float = 0.5, *, generator: Generator) -> Bool[Tensor, "t h w"]:
    """Random patches hidden through all time (VideoMAE's tube mask), `ratio` of them."""
    t, h, w = grid
    return random((1, h, w), ratio, generator=generator).expand(t, h, w).contiguous()


def random(grid: Grid, ratio: float = 0.5, *, generator: Generator) -> Bool[Tensor, "t h w"]:
    """Random tokens hidden, `ratio` of them, at least one and not all."""
    total = math.prod(grid)
    hidden = min(max(round(total * ratio), 1), total - 1)
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.randperm(total, generator=generator)[:hidden]] = True
    return mask.view(grid)


def box(
    grid: Grid, time: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> Bool[Tensor, "t h w"]:
    """One box hidden, from the first to before the second index of each range."""
    mask = torch.zeros(grid, dtype=torch.bool)
    mask[slice(*time), slice(*rows), slice(*columns)] = True
    return mask


def future(grid: Grid, keep: int) -> Bool[Tensor, "t h w"]:
    """Everything after the first `keep` time steps hidden."""
    t, h, w = grid
    return box(grid, (keep, t), (0, h), (0, w))


def centre_box(grid: Grid) -> Bool[Tensor, "t h w"]:
    """The middle half of the frame, through all time."""
    t, h, w = grid
    return box(grid, (0, t), (h // 4, h - h // 4), (w // 4, w - w // 4))


MASKS: dict[str, Callable[[Grid, Generator], Bool[Tensor, "t h w"]]] = {
    "short": lambda grid, generator: multiblock(grid, "short", generator=generator),
    "long": lambda grid, generator: multiblock(grid, "long", generator=generator),
    "tube": lambda grid, generator: tube(grid, generator=generator),
    "box": lambda grid, generator: centre_box(grid),
    "future": lambda grid, generator: future(grid, keep=grid[0] // 2),
    "random": lambda grid, generator: random(grid, generator=generator),
}
"""Masks that a person picks by name: (grid, generator) -> mask."""


def make(name: str, grid: Grid, generator: Generator) -> Bool[Tensor, "t h w"]:
    """The named preset's mask.

    Raises:
        InputError: no preset has that name.
    """
    if name not in MASKS:
        raise InputError(f"There is no mask preset {name!r}; choose one of {', '.join(MASKS)}.")
    return MASKS[name](grid, generator)


def check(mask, grid: Grid) -> Bool[Tensor, "t h w"]:
    """A person's mask as a bool tensor, once it is one that can be predicted behind.

    Args:
        mask: bool array or tensor (t, h, w), True = hidden.
        grid: the model's (t, h, w).

    Raises:
        InputError: another shape, nothing hidden, or nothing visible.
    """
    mask = torch.as_tensor(mask)
    if tuple(mask.shape) != tuple(grid):
        raise InputError(
            f"The mask has shape {tuple(mask.shape)} and this model's grid is {tuple(grid)} "
            "(time, height, width): draw it on that grid."
        )
    mask = mask.to(torch.bool)
    if not mask.any():
        raise InputError("The mask is empty: hide at least one token.")
    if mask.all():
        raise InputError("The mask hides the whole clip: leave at least one token visible.")
    return mask
