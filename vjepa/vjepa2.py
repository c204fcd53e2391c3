"""V-JEPA 2 (Assran et al. 2025): the same idea, published with rotary positions and one encoder."""

from __future__ import annotations

from torch import nn

from vjepa.config import ModelConfig
from vjepa.encoder import Encoder
from vjepa.model import VJEPA
from vjepa.predictor import Predictor


class VJEPA2(VJEPA):
    """A published V-JEPA 2: its one encoder is context encoder and target encoder.

    Hidden tokens are dropped *before* the encoder. The transformers model, asked with a context
    mask, encodes the whole clip and gathers afterwards: there, what is hidden reaches the context.
    """

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)  # VJEPA would copy the encoder
        self.config = config
        self.encoder = Encoder(config)
        self.predictor = Predictor(config)

    @property
    def target_encoder(self) -> Encoder:
        """The encoder."""
        return self.encoder
