"""How much is hidden: blocks until a share of the frame is covered, and what the paper's average.

The paper's masks are unions of a fixed number of blocks, whose share comes out as it does. Here the
share is asked for, to see what it costs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vjepa import masks
from vjepa.errors import InputError
from vjepa.masks import KINDS, Grid

Block = tuple[int, int, int, int]
"""Top, left, rows, columns, in tokens."""


class Union(NamedTuple):
    """What blocks cover together, through all time.

    Attributes:
        mask: True = hidden.
        blocks: those that it took, in the order drawn; the last one may be cut.
    """

    mask: Bool[Tensor, "t h w"]
    blocks: tuple[Block, ...]


def union(grid: Grid, share: float, generator: Generator) -> Union:
    """Short-range blocks, one after the other until so much of the frame is hidden.

    The last one is cut where the share is reached. With the same generator a larger share hides the
    same places and more. One place at least is hidden, and one stays visible.

    Args:
        grid: (t, h, w).
        share: of the frame, 0..1.
        generator: of the blocks' shape and places.

    Raises:
        InputError: no share.
    """
    t, h, w = grid
    if not 0 <= share <= 1:
        raise InputError(f"{share:g} is no share: choose a number from 0 to 1.")
    rows, columns = masks.block_shape(h, w, KINDS["short"][1], generator)
    wanted = min(max(round(share * h * w), 1), h * w - 1)
    hidden, blocks = torch.zeros(h, w, dtype=torch.bool), []
    while (missing := wanted - int(hidden.sum())) > 0:
        top = int(torch.randint(h - rows + 1, (), generator=generator))
        left = int(torch.randint(w - columns + 1, (), generator=generator))
        block = torch.zeros_like(hidden)
        block[top : top + rows, left : left + columns] = True
        new = (block & ~hidden).nonzero()[:missing]
        hidden[new[:, 0], new[:, 1]] = True
        if len(new):
            blocks.append((top, left, rows, columns))
    return Union(hidden.expand(t, h, w).clone(), tuple(blocks))


def shares_hidden(
    grid: Grid, kind: str, batch: int, draws: int, generator: Generator
) -> Float[np.ndarray, " 2"]:
    """What the paper's masks of one kind hide of a clip, on average.

    Args:
        grid: (t, h, w).
        kind: "short" or "long".
        batch: clips whose masks are cut to one length: each is left with as few visible tokens as
            that one of them which has the fewest.
        draws: how many batches.
        generator: of the masks.

    Returns:
        the share that the union of the blocks covers, and the share that the context encoder does
        not get once a batch is cut to one length.
    """
    drawn = [masks.multiblock_batch(grid, batch, kind, generator=generator) for _ in range(draws)]
    hidden = torch.stack(drawn).flatten(2).float().mean(2)  # (draws, batch)
    return np.array([hidden.mean(), hidden.amax(1).mean()])
