"""The vision transformer of V-JEPA: attention, block, encoder, and the narrow predictor."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import MASK_TYPES, ModelConfig
from vjepa.errors import InputError
from vjepa.masks import Grid
from vjepa.tokens import SinCosPositions, patchify, take

Turn = Callable[[Float[Tensor, "B H K hd"]], Float[Tensor, "B H K hd"]]
"""Turns queries or keys by where their tokens lie: positions that are not added (V-JEPA 2)."""

CACHED_WEIGHTS = 2**22
"""Attention weights that a CPU's cache holds: 8 MB in bf16."""


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
        self, x: Float[Tensor, "B N D"], turn: Turn | None = None
    ) -> Float[Tensor, "B N D"]:
        """Tokens that took from each other, after `turn` where there is one."""
        q, k, v = rearrange(
            self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads
        )
        if turn is not None:
            q, k = turn(q), turn(k)
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
        self, x: Float[Tensor, "B N D"], turn: Turn | None = None
    ) -> Float[Tensor, "B N D"]:
        x = x + self.attn(self.norm1(x), turn)
        return x + self.mlp(self.norm2(x))


def init_linear(module: nn.Module) -> None:
    """The official initialisation: truncated normal of .02 for every Linear, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class Encoder(nn.Module):
    """Video vision transformer (paper, section 3.3; x-encoder and y-encoder).

    Tubelets are embedded, positions added, and tokens that are not asked for dropped *before*
    the first block: what is hidden cannot reach a feature. No class token.

    Args:
        config: shape of the model.
        position: where tokens lie, as a module like `SinCosPositions`, which is what V-JEPA has.
    """

    def __init__(self, config: ModelConfig, position: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        size = (config.tubelet_size, config.patch_size, config.patch_size)
        self.patch_embed = nn.Conv3d(3, config.embed_dim, kernel_size=size, stride=size)
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.position = position or SinCosPositions(config, config.embed_dim)
        self.apply(init_linear)
        nn.init.trunc_normal_(self.patch_embed.weight, std=config.patch_init_std)
        nn.init.zeros_(self.patch_embed.bias)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.norm.weight.device

    def forward(
        self, clips: Float[Tensor, "B C T H W"], idx: Int64[Tensor, "B K"] | None = None
    ) -> Float[Tensor, "B K D"]:
        """Features of the tokens `idx`, which see each other and nothing else.

        Args:
            clips: normalised frames (`vjepa.read_clip`), on any device, in any precision; of
                another size than the model's, positions stretch.
            idx: tokens that enter the encoder; all when None.

        Raises:
            InputError: clips that cannot be cut into tubelets.
        """
        x, turn = self._enter(clips, idx)
        for block in self.blocks:
            x = block(x, turn)
        return self.norm(x)

    def layers(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "L B N D"]:
        """Features of whole clips after every block; those of the last end in the final norm.

        Raises:
            InputError: clips that cannot be cut into tubelets.
        """
        (x, turn), outputs = self._enter(clips, None), []
        for block in self.blocks:
            x = block(x, turn)
            outputs.append(x)
        return torch.stack([*outputs[:-1], self.norm(x)])

    def _enter(self, clips: Tensor, idx: Tensor | None) -> tuple[Tensor, Turn | None]:
        """Embedded tokens that know where they lie: by what is added, or by how they turn."""
        grid = self.grid_of(clips)
        return self.position(self._embed(clips.to(self.device, self.dtype), idx), idx, grid)

    def _embed(self, clips: Tensor, idx: Tensor | None) -> Tensor:
        tubelets = patchify(clips, self.config)  # (B, N, P)
        if idx is not None:
            tubelets = take(tubelets, idx)
        # the convolution does not overlap, so it is a linear layer on the tokens that are kept
        return F.linear(tubelets, self.patch_embed.weight.flatten(1), self.patch_embed.bias)

    def grid_of(self, clips: Float[Tensor, "B C T H W"]) -> Grid:
        """Tokens of these clips along time, height and width.

        Raises:
            InputError: they are no clips.
        """
        if clips.ndim != 5 or clips.shape[1] != 3:
            raise InputError(
                f"The model wants clips of shape (B, 3, T, H, W) and got {tuple(clips.shape)}: "
                "read them with vjepa.read_clip."
            )
        config, (frames, height, width) = self.config, clips.shape[2:]
        side = config.patch_size
        return frames // config.tubelet_size, height // side, width // side


class Predictor(nn.Module):
    """Narrow transformer over [context, mask tokens] (paper, section 3.3).

    A hidden token enters as a learned mask token, one per mask type, plus its position.

    Args:
        config: shape of the model.
        output_dim: width of a prediction; the targets' by default.
        position: where tokens lie, as in `Encoder`.
    """

    def __init__(
        self, config: ModelConfig, output_dim: int | None = None, position: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.config = config
        dim = config.predictor_embed_dim
        self.embed = nn.Linear(config.embed_dim, dim)
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 1, dim)) for _ in range(config.num_mask_tokens)
        )
        self.blocks = nn.ModuleList(
            Block(dim, config.predictor_num_heads) for _ in range(config.predictor_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.proj = nn.Linear(dim, output_dim or config.output_dim)
        self.position = position or SinCosPositions(config, dim)
        self.apply(init_linear)

    def forward(
        self,
        context: Float[Tensor, "B K D"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
        grid: Grid | None = None,
    ) -> Float[Tensor, "B M O"]:
        """What is predicted of the hidden tokens.

        Args:
            context: features of the visible tokens.
            context_idx, target_idx: where they lie, and where to predict.
            mask_type: "short" or "long", or the index of a mask token.
            grid: the clips', when it is not the model's: positions stretch as the encoder's do.

        Raises:
            InputError: the model has no such mask token.
        """
        x = self._process(*self._join(context, context_idx, target_idx, mask_type), grid)
        return self.proj(x[:, context.shape[1] :])

    def _join(
        self, context: Tensor, context_idx: Tensor, target_idx: Tensor, mask_type: str | int
    ) -> tuple[Tensor, Tensor]:
        """Context features and mask tokens in one row (B, K + M, D'), and where they lie."""
        visible = self.embed(context)
        token = self.mask_tokens[self.mask_token_index(mask_type)]
        hidden = token.to(visible.dtype).expand(*target_idx.shape, -1)
        return torch.cat([visible, hidden], dim=1), torch.cat([context_idx, target_idx], dim=1)

    def _process(self, x: Tensor, idx: Tensor, grid: Grid | None = None) -> Tensor:
        x, turn = self.position(x, idx, grid)
        for block in self.blocks:
            x = block(x, turn)
        return self.norm(x)

    def mask_token_index(self, mask_type: str | int) -> int:
        """Which learned token stands for a mask type; a number stands for itself.

        Raises:
            InputError: the model has no such mask token.
        """
        index = MASK_TYPES.get(mask_type, -1) if isinstance(mask_type, str) else mask_type
        if not 0 <= index < len(self.mask_tokens):
            raise InputError(
                f"There is no mask token {mask_type!r}; choose {', '.join(MASK_TYPES)} "
                f"or a number from 0 to {len(self.mask_tokens) - 1}."
            )
        same_for_all = isinstance(mask_type, str) and self.config.mask_token >= 0
        return self.config.mask_token if same_for_all else index

    def untrained_tokens(self) -> tuple[int, ...]:
        """Mask tokens that are still zero, as they are before any training."""
        return tuple(i for i, token in enumerate(self.mask_tokens) if not token.any())
