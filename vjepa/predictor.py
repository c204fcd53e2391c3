"""The narrow predictor: from context features and mask tokens to features of what is hidden."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import MASK_TYPES, ModelConfig
from vjepa.errors import InputError
from vjepa.layers import Block, init_linear
from vjepa.position import Position


class Predictor(nn.Module):
    """Narrow transformer over [context, mask tokens] (paper, section 3.3).

    A hidden token enters as a learned mask token, one per mask type, plus its position.

    Args:
        config: shape of the model.
        output_dim: width of a prediction; the targets' by default.
    """

    def __init__(self, config: ModelConfig, output_dim: int | None = None) -> None:
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
        self.position = Position(config, dim, config.predictor_num_heads)
        self.apply(init_linear)

    def forward(
        self,
        context: Float[Tensor, "B K D"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
    ) -> Float[Tensor, "B M O"]:
        """What is predicted of the hidden tokens.

        Args:
            context: features of the visible tokens.
            context_idx, target_idx: where they lie, and where to predict.
            mask_type: "short" or "long", or the index of a mask token.

        Raises:
            InputError: the model has no such mask token.
        """
        x = self._process(*self._join(context, context_idx, target_idx, mask_type))
        return self.proj(x[:, context.shape[1] :])

    def _join(
        self, context: Tensor, context_idx: Tensor, target_idx: Tensor, mask_type: str | int
    ) -> tuple[Tensor, Tensor]:
        """Context features and mask tokens in one row (B, K + M, D'), and where they lie."""
        visible = self.embed(context)
        token = self.mask_tokens[self.mask_token_index(mask_type)]
        hidden = token.to(visible.dtype).expand(*target_idx.shape, -1)
        return torch.cat([visible, hidden], dim=1), torch.cat([context_idx, target_idx], dim=1)

    def _process(self, x: Tensor, idx: Tensor) -> Tensor:
        x, rotation = self.position(x, idx)
        for block in self.blocks:
            x = block(x, rotation)
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
