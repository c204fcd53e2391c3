"""V-JEPA with a loss on the visible tokens too: what kept a small encoder from collapsing.

V-JEPA asks only for what is hidden. A small encoder then finds that positions are all it needs, and
forgets what it sees. V-JEPA 2.1 adds a loss on the visible tokens (its "dense predictive loss");
here a linear head on the context encoder reads it, and is thrown away after training.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.grid import take
from vjepa.model import VJEPA, MaskBatch

CONTEXT_WEIGHT = 0.5
"""Of the loss on visible tokens, beside 1 for the hidden ones."""


class DenseVJEPA(VJEPA):
    """V-JEPA whose context features must also tell the targets of their own tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.context_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, config.output_dim))

    def _mask_loss(self, clips: Tensor, targets: Tensor, mask: MaskBatch) -> Tensor:
        context = self.encode_context(clips, mask.context_idx)
        hidden = self._prediction_loss(context, targets, mask)
        return hidden + CONTEXT_WEIGHT * self._context_loss(context, targets, mask)

    def _context_loss(
        self, context: Float[Tensor, "B K D"], targets: Tensor, mask: MaskBatch
    ) -> Tensor:
        return F.l1_loss(self.context_head(context).float(), take(targets, mask.context_idx))

    def trained(self) -> VJEPA:
        """The model without the head."""
        model = VJEPA(self.config).to(self.device, self.dtype)
        kept = model.state_dict().keys()
        model.load_state_dict({name: t for name, t in self.state_dict().items() if name in kept})
        return model
