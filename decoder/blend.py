"""Tubelets that overlap, blended into one picture: no seams where tokens meet.

Every token draws a margin beyond its own pixels. On both sides of a rim between two hidden tokens
each pixel is a mean of what the two have drawn there, and the weights pass over from one to the
other: first along rows, then along columns.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vjepa.masks import Grid


def blend(
    wide: Float[Tensor, "B M Q"],
    target_idx: Int64[Tensor, "B M"],
    grid: Grid,
    frames: int,
    margin: int,
) -> Float[Tensor, "B M P"]:
    """The tokens' own pixels, near their rims blended with what hidden neighbours drew there.

    Args:
        wide: tubelets with their margins, in the order of `vjepa.grid.patchify`.
        target_idx: which tokens they are; the others have drawn nothing.
        grid: tokens along time, height and width.
        frames: in a tubelet.
        margin: pixels, at most half of a tubelet's side.
    """
    tiles = _tiles(wide, frames)  # (B, M, 3 f, k, k)
    tiles = _blend_columns(tiles, *_neighbours(target_idx, grid, axis=2), margin)
    tiles = _blend_columns(tiles.mT, *_neighbours(target_idx, grid, axis=1), margin)
    return tiles.mT.flatten(2)


def inner(wide: Float[Tensor, "B M Q"], frames: int, margin: int) -> Float[Tensor, "B M P"]:
    """The tokens' own pixels as each has drawn them itself; arguments as for `blend`."""
    tiles = _tiles(wide, frames)
    own = slice(margin, tiles.shape[-1] - margin)
    return tiles[..., own, own].flatten(2)


def _tiles(wide: Tensor, frames: int) -> Float[Tensor, "B M C k k"]:
    side = round((wide.shape[-1] / (3 * frames)) ** 0.5)
    return wide.unflatten(-1, (3 * frames, side, side))


def _neighbours(
    target_idx: Int64[Tensor, "B M"], grid: Grid, axis: int
) -> tuple[Int64[Tensor, "2 B M"], Bool[Tensor, "2 B M"]]:
    """Where among the targets each token's neighbours before and after it are, and if at all."""
    place = torch.stack(torch.unravel_index(target_idx, grid))  # (3, B, M)
    size, stride = grid[axis], (grid[1] * grid[2], grid[2], 1)[axis]
    position = target_idx.new_full((len(target_idx), grid[0] * grid[1] * grid[2]), -1)
    order = torch.arange(target_idx.shape[1], device=target_idx.device).expand_as(target_idx)
    position.scatter_(1, target_idx, order)
    found = []
    for step in (-1, 1):
        inside = (place[axis] + step >= 0) & (place[axis] + step < size)
        beside = (target_idx + step * stride).where(inside, target_idx)
        found.append(position.gather(1, beside).where(inside, -1))
    places = torch.stack(found)
    return places.clamp_min(0), places >= 0


def _blend_columns(
    tiles: Float[Tensor, "B M C r k"],
    places: Int64[Tensor, "2 B M"],
    there: Bool[Tensor, "2 B M"],
    margin: int,
) -> Float[Tensor, "B M C r p"]:
    """Takes the margins off the last axis, and blends what lies inside with the neighbours'."""
    own = tiles[..., margin : tiles.shape[-1] - margin]
    middle = own[..., margin : own.shape[-1] - margin]
    fade = (margin - torch.arange(margin, device=tiles.device) - 0.5) / (2 * margin)
    before = _theirs(tiles[..., -margin:], places[0])
    after = _theirs(tiles[..., :margin], places[1])
    weights = there.to(tiles.dtype)[..., None, None, None] * fade.to(tiles.dtype)
    start = own[..., :margin].lerp(before, weights[0])
    end = own[..., own.shape[-1] - margin :].lerp(after, weights[1].flip(-1))
    return torch.cat([start, middle, end], dim=-1)


def _theirs(strips: Float[Tensor, "B M C r m"], places: Int64[Tensor, "B M"]) -> Tensor:
    """Each token's neighbour's strip."""
    rows = places + strips.shape[1] * torch.arange(len(places), device=places.device)[:, None]
    return strips.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, places.shape)
