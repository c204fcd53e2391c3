"""The encoder: a ViT over 3D tubelets whose hidden tokens are dropped at the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.grid import patchify, take
from vjepa.layers import Block, init_linear
from vjepa.position import Position


class Encoder(nn.Module):
    """Video vision transformer (paper, section 3.3; x-encoder and y-encoder).

    Tubelets are embedded, positions added, and tokens that are not asked for dropped *before*
    the first block: what is hidden cannot reach a feature. No class token.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size = (config.tubelet_size, config.patch_size, config.patch_size)
        self.patch_embed = nn.Conv3d(3, config.embed_dim, kernel_size=size, stride=size)
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.position = Position(
            config, config.embed_dim, config.num_heads, stretched=config.family == "vjepa2.1"
        )
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
        x, rotation = self._enter(clips, idx)
        for block in self.blocks:
            x = block(x, rotation)
        return self.norm(x)

    def layers(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "L B N D"]:
        """Features of whole clips after every block; those of the last end in the final norm.

        Raises:
            InputError: clips that cannot be cut into tubelets.
        """
        (x, rotation), outputs = self._enter(clips, None), []
        for block in self.blocks:
            x = block(x, rotation)
            outputs.append(x)
        return torch.stack([*outputs[:-1], self.norm(x)])

    def _enter(self, clips: Tensor, idx: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embedded tokens that know where they lie: by what is added, or by a rotation."""
        grid = self._grid(clips)
        return self.position(self._embed(clips.to(self.device, self.dtype), idx), idx, grid)

    def _embed(self, clips: Tensor, idx: Tensor | None) -> Tensor:
        tubelets = patchify(clips, self.config)  # (B, N, P)
        if idx is not None:
            tubelets = take(tubelets, idx)
        # the convolution does not overlap, so it is a linear layer on the tokens that are kept
        return F.linear(tubelets, self.patch_embed.weight.flatten(1), self.patch_embed.bias)

    def _grid(self, clips: Tensor) -> tuple[int, int, int]:
        if clips.ndim != 5 or clips.shape[1] != 3:
            raise InputError(
                f"The model wants clips of shape (B, 3, T, H, W) and got {tuple(clips.shape)}: "
                "read them with vjepa.read_clip."
            )
        config, (frames, height, width) = self.config, clips.shape[2:]
        side = config.patch_size
        return frames // config.tubelet_size, height // side, width // side
