"""The narrow predictor: from context features and mask tokens to features of what is hidden."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import MASK_TYPES, ModelConfig
from vjepa.errors import InputError
from vjepa.grid import take
from vjepa.layers import Block, init_linear, position_table


class Predictor(nn.Module):
    """Narrow transformer over [context, mask tokens] (paper, section 3.3).

    A hidden token enters as a learned mask token, one per mask type, plus its position.

    Args:
        config: shape of the model.
        output_dim: width of a prediction; the encoder's by default.
    """

    def __init__(self, config: ModelConfig, output_dim: int | None = None) -> None:
        super().__init__()
        dim = config.predictor_embed_dim
        self.embed = nn.Linear(config.embed_dim, dim)
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 1, dim)) for _ in range(config.num_mask_tokens)
        )
        self.blocks = nn.ModuleList(
            Block(dim, config.predictor_num_heads) for _ in range(config.predictor_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.proj = nn.Linear(dim, output_dim or config.embed_dim)
        self.register_buffer("position", position_table(config.grid, dim), persistent=False)
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
        """
        position = self.position.expand(len(context), -1, -1)
        embedded = self.embed(context)
        visible = embedded + take(position, context_idx).to(embedded.dtype)
        hidden = (self.mask_token(mask_type) + take(position, target_idx)).to(embedded.dtype)
        x = torch.cat([visible, hidden], dim=1)  # (B, K + M, D')
        for block in self.blocks:
            x = block(x)
        return self.proj(self.norm(x[:, context.shape[1] :]))

    def mask_token(self, mask_type: str | int) -> Float[Tensor, "1 1 D"]:
        """The learned token of a mask type.

        Raises:
            InputError: the model has no such mask token.
        """
        index = MASK_TYPES.get(mask_type, -1) if isinstance(mask_type, str) else mask_type
        if not 0 <= index < len(self.mask_tokens):
            raise InputError(
                f"There is no mask token {mask_type!r}; choose {', '.join(MASK_TYPES)} "
                f"or a number from 0 to {len(self.mask_tokens) - 1}."
            )
        return self.mask_tokens[index]
