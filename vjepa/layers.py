"""What encoder and predictor are made of: position table, attention, pre-norm block."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vjepa.rotary import rotate

CACHED_WEIGHTS = 2**22
"""Attention weights that a CPU's cache holds: 8 MB in bf16."""


def position_table(grid: tuple[int, int, int], dim: int) -> Float[Tensor, "N D"]:
    """The fixed 3D sin-cos table of the official code (`uniform_power`).

    Each axis gets ceil(dim / 6) * 2 numbers, [sin | cos] with base 10000; the axes t, h, w are
    put side by side and cut to `dim`.

    Args:
        grid: (t, h, w).
        dim: width of the tokens.
    """
    per_axis = math.ceil(dim / 6) * 2
    indices = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    table = torch.cat([_sincos(axis.flatten(), per_axis) for axis in indices], dim=1)
    return table[:, :dim].float()


def _sincos(positions: Float[Tensor, " N"], dim: int) -> Float[Tensor, "N dim"]:
    omega = 10000 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = positions[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def stretch_positions(
    table: Float[Tensor, "N D"], grid: tuple[int, int, int], to: tuple[int, int, int]
) -> Float[Tensor, "M D"]:
    """A position table for another grid, trilinearly interpolated as in the official code."""
    if grid == to:
        return table
    t, h, w = grid
    volume = rearrange(table, "(t h w) d -> 1 d t h w", t=t, h=h, w=w)
    volume = F.interpolate(volume, size=to, mode="trilinear")
    return rearrange(volume, "1 d t h w -> (t h w) d")


def attend(
    q: Float[Tensor, "B H M hd"], k: Float[Tensor, "B H N hd"], v: Float[Tensor, "B H N hd"]
) -> Float[Tensor, "B H M hd"]:
    """softmax(q k / sqrt(hd)) v."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return _attend_in_cache(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def _attend_in_cache(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain matrix products, for as many heads, or queries of a head, as the cache has room for.

    In bf16 torch's fused CPU kernel takes 1.3 to 4 times as long, and so do all heads at once.
    """
    queries, keys = q.shape[2], k.shape[2]
    heads, rows = max(1, CACHED_WEIGHTS // (queries * keys)), max(1, CACHED_WEIGHTS // keys)
    out = []
    for q_, k_, v_ in zip(*(x.flatten(0, 1).split(heads) for x in (q, k, v)), strict=True):
        scaled = (q_ * q.shape[-1] ** -0.5).split(rows, dim=1)
        out.append(torch.cat([(part @ k_.mT).softmax(-1) @ v_ for part in scaled], dim=1))
    return torch.cat(out).unflatten(0, q.shape[:2])


class Attention(nn.Module):
    """Multi-head self-attention with a bias on q, k and v."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "B N D"], rotation: Float[Tensor, "2 _ N hd"] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Tokens that took from each other; with a rotation, by where they lie."""
        q, k, v = rearrange(
            self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads
        )
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return self.proj(rearrange(attend(q, k, v), "b h n d -> b n (h d)"))


class Mlp(nn.Module):
    """Two linear layers, `ratio` times as wide in between, with exact GELU."""

    def __init__(self, dim: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, round(dim * ratio))
        self.fc2 = nn.Linear(round(dim * ratio), dim)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block: attention, then an MLP."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(
        self, x: Float[Tensor, "B N D"], rotation: Float[Tensor, "2 _ N hd"] | None = None
    ) -> Float[Tensor, "B N D"]:
        x = x + self.attn(self.norm1(x), rotation)
        return x + self.mlp(self.norm2(x))


def init_linear(module: nn.Module) -> None:
    """The official initialisation: truncated normal of .02 for every Linear, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
