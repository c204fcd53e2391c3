"""The pack of cut-outs and backdrops of world clips, as texture atlases; layers drawn from it."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

PACK = Path(__file__).resolve().parents[2] / "assets" / "world"
GUTTER = 2  # transparent pixels around a cell, so that neighbours never bleed in
MIPS = 6  # sizes kept of each cell, each 1/sqrt(2) of the one before
DIRECTIONS = 64  # in which the reach of an outline is stored
WRAP = 256  # columns of a panorama repeated at its right end


@lru_cache
def pack_index() -> dict:
    """The pack's index.json: categories, identities, backdrops and what is held out."""
    return json.loads((PACK / "index.json").read_text(encoding="utf-8"))


def read_cells(file: str, count: int) -> Float[Tensor, "n 4 h w"]:
    """The cells of a strip, 0..1, colours premultiplied by alpha."""
    strip = np.asarray(Image.open(PACK / file).convert("RGBA"), dtype=np.float32) / 255
    strip[..., :3] *= strip[..., 3:]
    cells = np.stack(np.split(strip, count, axis=1))
    return torch.from_numpy(cells).permute(0, 3, 1, 2)


class Atlas:
    """A stack of RGBA cells in several sizes, sampled anywhere and in any order.

    Each size is one tall image of all cells below each other, so a batch reads from it without
    copying textures.

    Args:
        stacks: of cells (n, 4, h, w), one behind the other; each is done with before the next.
        count: cells in all.
        side: h and w.
        device: of the strips.
    """

    def __init__(self, stacks: Iterable[Tensor], count: int, side: tuple[int, int], device):
        self.count = count
        shrinks = [2 ** (-mip / 2) for mip in range(MIPS)]
        self.sizes = [tuple(max(1, round(length * by)) for length in side) for by in shrinks]
        padded = [(height + 2 * GUTTER, width + 2 * GUTTER) for height, width in self.sizes]
        self.strips = [torch.empty(1, 4, count * h, w, device=device) for h, w in padded]
        first = 0
        for stack in stacks:
            for strip, size, (height, _) in zip(self.strips, self.sizes, padded, strict=True):
                column = _column(stack, size)
                strip[:, :, first * height :][:, :, : column.shape[2]] = column
            first += len(stack)

    def alpha(self) -> Float[Tensor, "n h w"]:
        """What every cell covers, in full size."""
        cells = self.strips[0][0, 3].unflatten(0, (self.count, -1))
        return cells[:, GUTTER:-GUTTER, GUTTER:-GUTTER]

    def mip_of(self, width: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
        """The stored size nearest to a width on the screen in pixels."""
        shrink = self.sizes[0][1] / width.clamp(min=1e-3)
        return (2 * shrink.log2()).round().clamp(0, MIPS - 1).long()

    def sample(self, mip: int, cell: Int[Tensor, " n"], u: Tensor, v: Tensor) -> Tensor:
        """Colours (n, 4, h, w) of cells at u, v (n, h, w), which run from -0.5 to 0.5."""
        height, width = self.sizes[mip]
        strip = self.strips[mip]
        rows, columns = strip.shape[-2:]
        # One pixel past the edge is in the transparent gutter: what lies farther reads from there.
        x = (u * width).clamp(-width / 2 - 1, width / 2 + 1) + width / 2 + GUTTER
        y = (v * height).clamp(-height / 2 - 1, height / 2 + 1) + height / 2 + GUTTER
        y = y + (cell * (height + 2 * GUTTER))[:, None, None]
        grid = torch.stack([x * (2 / columns) - 1, y * (2 / rows) - 1], dim=-1)
        return F.grid_sample(strip.expand(len(grid), -1, -1, -1), grid, align_corners=False)


def _column(cells: Float[Tensor, "n 4 h w"], size: tuple[int, int]) -> Float[Tensor, "1 4 r c"]:
    """Cells in another size, below each other, each with its gutter."""
    small = F.interpolate(cells, size=size, mode="bilinear", antialias=True)
    return F.pad(small, (GUTTER,) * 4).transpose(0, 1).flatten(1, 2)[None]


class Objects:
    """The cut-outs of one split: actors by category, and props, plus one soft round shadow.

    Cells of a thing follow each other, and so do things of a category.

    Attributes:
        names: (identity characters) of every cell but the shadow.
        category: (n,) category index, -1 for a prop.
        things: (t,) category index of every thing, -1 for a prop.
        drawings: (t,) how many cells show that thing.
        support: (n, DIRECTIONS) how far the outline reaches, in cells, in each direction.
        shadow: the cell index of the shadow.
    """

    def __init__(self, split: str, device):
        kinds = [*enumerate(pack_index()["categories"].values()), (-1, pack_index()["props"])]
        names = {kind: read_names(entry, split) for kind, entry in kinds}
        counts = {kind: Counter(each) for kind, each in names.items()}
        self.names = list(chain(*names.values()))
        self.category = torch.tensor([kind for kind, each in names.items() for _ in each])
        self.things = torch.tensor([kind for kind, each in counts.items() for _ in each])
        self.drawings = torch.tensor([n for each in counts.values() for n in each.values()])
        self.shadow, side = len(self.names), pack_index()["cell"]
        stacks = (read_things(entry, split) for _, entry in kinds)
        stacks = chain(stacks, [shadow_cell(side)])
        self.atlas = Atlas(stacks, self.shadow + 1, (side, side), device)
        self.support = outline_reach(self.atlas.alpha()[: self.shadow].cpu()).to(device)

    def ids(self, category: int) -> Int[Tensor, " n"]:
        """Cells of a category; -1 for the props."""
        return (self.category == category).nonzero()[:, 0]


def read_names(entry: dict, split: str) -> list[str]:
    """Identities of an index entry's cells, thing by thing; training has further drawings."""
    return [name for name, _, _ in _cells_of(entry, split)]


def read_things(entry: dict, split: str) -> Float[Tensor, "n 4 h w"]:
    """The cells themselves."""
    cells = _cells_of(entry, split)
    used = {file for _, file, _ in cells}
    strips = {
        drawn["file"]: read_cells(drawn["file"], len(drawn["identities"]))
        for drawn in (entry, *entry.get("drawings", []))
        if drawn["file"] in used
    }
    return torch.stack([strips[file][place] for _, file, place in cells])


def _cells_of(entry: dict, split: str) -> list[tuple[str, str, int]]:
    """Identity, file, and place in it; all drawings of a thing follow each other."""
    identities = entry["identities"]
    cells = [(identities[i], entry["file"], i) for i in members(entry, split)]
    for more in entry.get("drawings", []) if split == "train" else []:
        cells += [(name, more["file"], i) for i, name in enumerate(more["identities"])]
    order = {name: i for i, name in enumerate(dict.fromkeys(name for name, _, _ in cells))}
    return sorted(cells, key=lambda cell: order[cell[0]])


def members(entry: dict, split: str) -> list[int]:
    """Which identities of an index entry belong to a split."""
    held_out = set(entry["test"])
    return [i for i in range(len(entry["identities"])) if (i in held_out) == (split == "test")]


def shadow_cell(side: int) -> Float[Tensor, "1 4 side side"]:
    """A black disc that fades to nothing at the cell's edge."""
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    radius = (line[:, None] ** 2 + line[None] ** 2).clamp(max=1)
    return torch.stack([torch.zeros(side, side)] * 3 + [(1 - radius) ** 1.2])[None]


def outline_reach(alpha: Float[Tensor, "n h w"]) -> Float[Tensor, "n d"]:
    """How far each shape reaches from its cell's middle in DIRECTIONS, in cell sides."""
    side = alpha.shape[-1]
    line = (torch.arange(side) + 0.5) / side - 0.5
    angle = torch.arange(DIRECTIONS) * (2 * math.pi / DIRECTIONS)
    reach = []
    for shape in alpha:
        y, x = (shape > 0.5).nonzero(as_tuple=True)
        along = line[x][:, None] * angle.cos() + line[y][:, None] * angle.sin()
        pixel = (angle.cos().abs() + angle.sin().abs()) / (2 * side)
        reach.append(along.amax(0) + pixel)
    return torch.stack(reach)


class Backdrops:
    """The panoramas and photos of one split, below each other in one image.

    Attributes:
        names: file names without suffix.
        image: (1, 3, H, W) 0..1.
        top, height, width: (n,) place of each picture; width without the repeated columns.
        wraps: (n,) bool, True for a panorama.
    """

    def __init__(self, split: str, device):
        entries = [entry for entry in pack_index()["backdrops"] if entry["split"] == split]
        pictures = [self._read(entry) for entry in entries]
        self.names = [entry["name"] for entry in entries]
        self.wraps = torch.tensor([entry["wraps"] for entry in entries], device=device)
        heights = torch.tensor([picture.shape[1] for picture in pictures])
        widths = torch.tensor([picture.shape[2] for picture in pictures])
        self.top = (heights.cumsum(0) - heights).float().to(device)
        self.height = heights.float().to(device)
        self.width = widths.float().to(device) - WRAP * self.wraps
        most = int(widths.max())
        padded = [F.pad(p, (0, most - p.shape[2], 0, 0)) for p in pictures]
        self.image = torch.cat(padded, dim=1)[None].to(device)

    @staticmethod
    def _read(entry: dict) -> Tensor:
        picture = np.asarray(Image.open(PACK / entry["file"]).convert("RGB"), dtype=np.float32)
        picture = torch.from_numpy(picture / 255).permute(2, 0, 1)
        if entry["wraps"]:
            picture = torch.cat([picture, picture[:, :, :WRAP]], dim=2)
        return picture


@lru_cache(maxsize=8)
def load_pack(split: str, device: str) -> tuple[Objects, Backdrops, Atlas]:
    """Cut-outs, backdrops and occluders of a split on a device."""
    posts = pack_index()["occluders"]
    count, size = posts["count"], (posts["height"], posts["width"])
    occluders = Atlas([read_cells(posts["file"], count)], count, size, device)
    return Objects(split, device), Backdrops(split, device), occluders


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
