"""The decoder's network: a transformer over the hidden tokens that cleans their noisy pixels.

One token is one tubelet. The paper's decoder conditions on "the representations predicted for
the missing regions" and was never released; conditioning token by token is our own design.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vjepa.masks import Grid
from vjepa.tokens import position_table, take
from vjepa.transformer import Attention, Mlp


class Size(NamedTuple):
    """Of a network: width, blocks, heads."""

    width: int
    depth: int
    num_heads: int


SIZES = {"demo": Size(256, 4, 4), "B": Size(768, 12, 12), "L": Size(1024, 24, 16)}
"""The bundled decoder's, and those of DiT-B and DiT-L (Peebles and Xie 2023, table 1)."""
CONDITIONS = {"target": 0, "predicted": 1, "null": 2}
"""What a condition can be: true features (the ceiling), predictions, or nothing (the prior)."""
TIMESTEPS = 1000
"""Scale of sigma in its embedding."""


class TokenDecoder(ModelMixin, ConfigMixin):
    """Predicts the clean pixels of hidden tubelets from noisy ones and one feature a token.

    Args:
        grid: tokens along time, height and width.
        tubelet_dim: numbers in a tubelet: 3 x frames x pixels, or those of its latents.
        feature_dim: width of the model's features.
        width, depth, num_heads: of the transformer.
        tubelet_size: frames in a tubelet.
        overlap: margin, in pixels, that every token draws beyond its own; there neighbours are
            blended, so that no seams show.
        model_fingerprint: the mark (`vjepa.checkpoint.Fingerprint`) of the model that it decodes.
        model_name: what that model was called in training.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        grid: Sequence[int],
        tubelet_dim: int,
        feature_dim: int,
        width: int = 256,
        depth: int = 6,
        num_heads: int = 4,
        tubelet_size: int = 2,
        overlap: int = 0,
        model_fingerprint: str | None = None,
        model_name: str | None = None,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.pixels_in = nn.Linear(tubelet_dim, width)
        self.feature_in = nn.Linear(feature_dim, width)
        self.null_feature = nn.Parameter(torch.zeros(width))
        self.source = nn.Embedding(len(CONDITIONS), width)
        self.sigma_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(ModulatedBlock(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        outer = math.isqrt(tubelet_dim // (3 * tubelet_size)) + 2 * overlap
        drawn = 3 * tubelet_size * outer**2 if overlap else tubelet_dim
        self.pixels_out = nn.Linear(width, drawn)
        self.register_buffer("position", position_table(tuple(grid), width), persistent=False)
        self.apply(_init)
        nn.init.zeros_(self.pixels_out.weight)

    def forward(
        self,
        noisy: Float[Tensor, "B M P"],
        sigma: Float[Tensor, " B"],
        features: Float[Tensor, "B M D"],
        target_idx: Int64[Tensor, "B M"],
        condition: Int64[Tensor, " B"],
        *,
        blended: bool = True,
    ) -> Float[Tensor, "B M P"]:
        """The clean tubelets, -1..1.

        Args:
            noisy: (1 - sigma) * clean + sigma * noise.
            sigma: noise level, 0..1.
            features: condition of each token, layer-normed; ignored where the condition is null.
            target_idx: which tokens these are.
            condition: one of `CONDITIONS`, sample by sample.
            blended: whether margins are blended, or each token's own pixels taken alone, which is
                faster and good enough on the way to the last step.
        """
        dtype = self.pixels_in.weight.dtype
        noisy, features = noisy.to(dtype), features.to(dtype)
        position = take(self.position.expand(len(noisy), -1, -1), target_idx).to(dtype)
        x = self.pixels_in(noisy) + self._condition(features, condition) + position  # (B, M, W)
        level = get_timestep_embedding(sigma * TIMESTEPS, x.shape[-1], flip_sin_to_cos=True)
        modulation = self.modulation(self.sigma_in(level.to(dtype)))  # (B, 6 W)
        modulation = modulation.unflatten(1, (1, 6, -1)).unbind(2)  # 6 x (B, 1, W)
        for block in self.blocks:
            x = self._run(block, x, modulation)
        return self._own_pixels(self.pixels_out(self.norm(x)), target_idx, blended)

    def _run(self, block: ModulatedBlock, x: Tensor, modulation: tuple) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, x, modulation)
        return block(x, modulation)

    def _own_pixels(self, wide: Tensor, target_idx: Tensor, blended: bool) -> Tensor:
        config = self.config
        if not config.overlap:
            return wide
        if blended:
            grid = tuple(config.grid)
            return blend(wide, target_idx, grid, config.tubelet_size, config.overlap)
        return inner(wide, config.tubelet_size, config.overlap)

    def _condition(self, features: Tensor, condition: Tensor) -> Tensor:
        embedded = self.feature_in(features)
        is_null = (condition == CONDITIONS["null"])[:, None, None]
        embedded = torch.where(is_null, self.null_feature, embedded)
        return embedded + self.source(condition)[:, None]


class ModulatedBlock(nn.Module):
    """Transformer block whose norms are shifted, scaled and gated by the noise level.

    The modulation is shared by all blocks, with an offset of their own (PixArt-alpha's
    adaLN-single): a third fewer weights than DiT's.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = Mlp(width)
        self.offset = nn.Parameter(torch.zeros(6, width))

    def forward(
        self, x: Float[Tensor, "B M W"], modulation: tuple[Float[Tensor, "B 1 W"], ...]
    ) -> Float[Tensor, "B M W"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            m + o for m, o in zip(modulation, self.offset, strict=True)
        )
        x = x + (1 + gate1) * self.attn(self.norm1(x) * (1 + scale1) + shift1)
        return x + (1 + gate2) * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


def blend(
    wide: Float[Tensor, "B M Q"],
    target_idx: Int64[Tensor, "B M"],
    grid: Grid,
    frames: int,
    margin: int,
) -> Float[Tensor, "B M P"]:
    """The tokens' own pixels, near their rims blended with what hidden neighbours drew there.

    Args:
        wide: tubelets with their margins, in the order of `vjepa.tokens.patchify`.
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
