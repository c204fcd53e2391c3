"""Draws layers onto a batch of frames: backdrops, sprites and the boxes of what shows."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vjepa.data.world_assets import Atlas, Backdrops


@dataclass(frozen=True)
class Sprites:
    """One layer: a textured rectangle per frame. N = clips x frames, in pixels and radians."""

    cell: Tensor  # (N,) which cell of the atlas
    x: Tensor  # (N,) middle
    y: Tensor
    width: Tensor  # (N,) negative = mirrored
    height: Tensor
    angle: Tensor  # (N,) clockwise
    opacity: Tensor  # (N,) 0..1; 0 is not drawn


def draw_sprites(canvas: Float[Tensor, "4 n h w"], atlas: Atlas, layer: Sprites, actor: bool):
    """Lays sprites over the canvas in place, each inside a window around it.

    Args:
        canvas: RGB 0..1 and the coverage of the actor.
        actor: whether these sprites are the actor; others take coverage away.
    """
    mips = atlas.mip_of(layer.width.abs())
    across, down = _extent(layer)
    height, width = canvas.shape[-2:]
    shown = (layer.opacity > 0) & (layer.x + across > 0) & (layer.x - across < width)
    shown &= (layer.y + down > 0) & (layer.y - down < height)
    for mip in range(len(atlas.sizes)):
        rows = (shown & (mips == mip)).nonzero()[:, 0]
        if len(rows):
            need = int(torch.maximum(across[rows], down[rows]).max().ceil()) * 2 + 1
            _draw_group(canvas, atlas, layer, mip, rows, min(need, height), min(need, width), actor)


def _extent(layer: Sprites) -> tuple[Tensor, Tensor]:
    """Half the width and height of the upright rectangle around each sprite."""
    cos, sin = layer.angle.cos().abs(), layer.angle.sin().abs()
    half_width, half_height = layer.width.abs() / 2, layer.height / 2
    return cos * half_width + sin * half_height + 1, sin * half_width + cos * half_height + 1


def _draw_group(canvas, atlas, layer, mip, rows, tall, wide, actor):
    """Draws the sprites `rows`, which share a texture size, in windows of tall x wide pixels."""
    height, width = canvas.shape[-2:]
    left = (layer.x[rows] - wide / 2).round().clamp(0, width - wide).long()
    top = (layer.y[rows] - tall / 2).round().clamp(0, height - tall).long()
    xs = left[:, None] + torch.arange(wide, device=canvas.device)  # (n, wide)
    ys = top[:, None] + torch.arange(tall, device=canvas.device)
    dx = (xs + 0.5 - layer.x[rows, None])[:, None, :]
    dy = (ys + 0.5 - layer.y[rows, None])[:, :, None]
    cos, sin = (f(layer.angle[rows])[:, None, None] for f in (torch.cos, torch.sin))
    u = (cos * dx + sin * dy) / layer.width[rows, None, None]
    v = (cos * dy - sin * dx) / layer.height[rows, None, None]
    colour = atlas.sample(mip, layer.cell[rows], u, v) * layer.opacity[rows, None, None, None]
    colour = colour.transpose(0, 1).flatten(1)  # (4, n * tall * wide)
    alpha = colour[3].clone()
    if not actor:
        colour[3] = 0
    place = ((rows[:, None] * height + ys)[:, :, None] * width + xs[:, None, :]).flatten()
    flat = canvas.view(4, -1)
    flat.index_copy_(1, place, torch.addcmul(colour, flat.index_select(1, place), 1 - alpha))


def draw_backdrop(
    canvas: Float[Tensor, "4 n h w"], backdrops: Backdrops, picture, x, y, width: Tensor
):
    """Fills the canvas with views of the backdrops.

    Args:
        picture: (n,) index of the backdrop.
        x, y: (n,) middle of the view in pixels of the picture.
        width: (n,) columns of the picture that the view spans; negative = mirrored.
    """
    height, columns = canvas.shape[-2:]
    across = (torch.arange(columns, device=canvas.device) + 0.5) / columns - 0.5
    down = ((torch.arange(height, device=canvas.device) + 0.5) - height / 2) / columns
    rows, cols = backdrops.image.shape[-2:]
    gx = (x[:, None] + width[:, None] * across) * (2 / cols) - 1
    gy = (y + backdrops.top[picture])[:, None] + width.abs()[:, None] * down
    gy = gy * (2 / rows) - 1
    grid = torch.stack(torch.broadcast_tensors(gx[:, None, :], gy[:, :, None]), dim=-1)
    image = backdrops.image.expand(len(grid), -1, -1, -1)
    canvas[:3] = F.grid_sample(image, grid, align_corners=False).transpose(0, 1)


def draw_gradient(canvas: Float[Tensor, "4 n h w"], colours: Tensor, angle: Tensor):
    """Fills the canvas with ramps from one colour to another.

    Args:
        colours: (n, 2, 3) RGB 0..1.
        angle: (n,) direction of the ramp in radians.
    """
    side = canvas.shape[-1]
    line = (torch.arange(side, device=canvas.device) + 0.5) / side - 0.5
    along = angle.cos()[:, None, None] * line + angle.sin()[:, None, None] * line[:, None]
    ramp = (along / 2**0.5 + 0.5).clamp(0, 1)  # (n, h, w)
    first, second = colours.permute(1, 2, 0)[..., None, None]  # each (3, n, 1, 1)
    canvas[:3] = first + (second - first) * ramp


def boxes_of(shape: Bool[Tensor, "n h w"]) -> Float[Tensor, "n 4"]:
    """Box (x0, y0, x1, y1) in pixels around the True pixels; zeros where there are none."""
    x0, x1 = _span(shape.any(-2))
    y0, y1 = _span(shape.any(-1))
    return torch.stack([x0, y0, x1, y1], dim=-1).float()


def _span(line: Bool[Tensor, "n s"]) -> tuple[Tensor, Tensor]:
    """First True and one past the last True of each row; zeros for an empty row."""
    some = line.any(-1)
    first = line.int().argmax(-1)
    last = line.shape[-1] - line.flip(-1).int().argmax(-1)
    return first * some, last * some
