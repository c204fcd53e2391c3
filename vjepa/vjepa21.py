"""What V-JEPA 2.1 adds: a tokenizer for still images, and features from four depths."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import LEVELS, ModelConfig
from vjepa.encoder import Encoder
from vjepa.grid import patchify, take
from vjepa.predictor import Predictor
from vjepa.vjepa2 import VJEPA2


class Encoder21(Encoder):
    """The encoder; a clip of one frame is an image, which has a tokenizer of its own."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        dim, side = config.embed_dim, config.patch_size
        self.patch_embed_img = nn.Conv3d(3, dim, kernel_size=(1, side, side))
        self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.level_norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for _ in range(3))

    def multilevel(
        self, clips: Float[Tensor, "B C T H W"], idx: Int64[Tensor, "B K"] | None = None
    ) -> Float[Tensor, "B K LD"]:
        """Features from four depths, each with a norm of its own, shallow to deep, side by side.

        Raises:
            InputError: clips that cannot be cut into tubelets.
        """
        (x, rotation), outputs = self._enter(clips, idx), []
        norms = dict(zip(LEVELS[self.config.depth], [*self.level_norms, self.norm], strict=True))
        for i, block in enumerate(self.blocks):
            x = block(x, rotation)
            if i in norms:
                outputs.append(norms[i](x))
        return torch.cat(outputs, dim=-1)

    def _embed(self, clips: Tensor, idx: Tensor | None) -> Tensor:
        if not is_image(clips):
            return super()._embed(clips, idx) + self.video_mod_embed
        tubelets = patchify(clips, replace(self.config, num_frames=1, tubelet_size=1))
        if idx is not None:
            tubelets = take(tubelets, idx)
        tokenizer = self.patch_embed_img
        return F.linear(tubelets, tokenizer.weight.flatten(1), tokenizer.bias) + self.img_mod_embed

    def _grid(self, clips: Tensor) -> tuple[int, int, int]:
        t, h, w = super()._grid(clips)
        return (1 if is_image(clips) else t), h, w


class Predictor21(Predictor):
    """The predictor; it also says what it makes of the tokens that it sees."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        dim, encoder_dim = config.predictor_embed_dim, config.embed_dim
        if config.levels > 1:
            self.embed = nn.Sequential(
                nn.Linear(config.levels * encoder_dim, encoder_dim),
                nn.GELU(),
                nn.Linear(encoder_dim, dim),
            )
        self.proj_context = nn.Linear(dim, config.output_dim)
        self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(
        self,
        context: Float[Tensor, "B K E"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
        *,
        image: bool = False,
    ) -> tuple[Float[Tensor, "B M O"], Float[Tensor, "B K O"]]:
        """What is predicted of the hidden tokens, and what is made of the visible ones.

        Args:
            context: features of the visible tokens, of all levels.
            context_idx, target_idx: where they lie, and where to predict.
            mask_type: "short" or "long", or the index of a mask token.
            image: whether the tokens are a still image's.
        """
        x, idx = self._join(context, context_idx, target_idx, mask_type)
        x = self._process(x + (self.img_mod_embed if image else self.video_mod_embed), idx)
        visible, hidden = x.split([context_idx.shape[1], target_idx.shape[1]], dim=1)
        return self.proj(hidden), self.proj_context(visible)


class VJEPA21(VJEPA2):
    """A published V-JEPA 2.1.

    The encoders B and L were distilled: their predictors predict features of a teacher (ViT-G)
    that is not in their files. What the predictor makes of a clip that it sees whole stands for
    the teacher's features then.
    """

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.encoder = Encoder21(config)
        self.predictor = Predictor21(config)

    def encode_context(
        self, clips: Float[Tensor, "B C T H W"], context_idx: Int64[Tensor, "B K"]
    ) -> Float[Tensor, "B K E"]:
        """Features of the visible tokens, of all levels that the predictor takes."""
        if self.config.levels > 1:
            return self.encoder.multilevel(clips, context_idx)
        return self.encoder(clips, context_idx)

    def predict(
        self,
        context: Float[Tensor, "B K E"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
        *,
        image: bool = False,
    ) -> Float[Tensor, "B M O"]:
        """Predictions for the hidden tokens of a clip, or of an image."""
        return self.predictor(context, context_idx, target_idx, mask_type, image=image)[0]

    @torch.no_grad()
    def target_features(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N O"]:
        """Features of every token in the space of the predictions, in float32.

        Those of the encoder's levels, each layer-normed; of a distilled model, what its predictor
        makes of the whole clip.
        """
        if not self.config.teacher_dim:
            levels = rearrange(
                self.encoder.multilevel(clips), "b n (l d) -> b n l d", l=self.config.levels
            )
            return F.layer_norm(levels.float(), levels.shape[-1:]).flatten(2)
        context = self.encode_context(clips, everything := self._all_tokens(clips))
        nothing = everything[:, :0]
        return self.predictor(context, everything, nothing, image=is_image(clips))[1].float()

    def _all_tokens(self, clips: Tensor) -> Int64[Tensor, "B N"]:
        count = self.config.num_tokens // (self.grid[0] if is_image(clips) else 1)
        return torch.arange(count, device=self.device).expand(len(clips), -1)


def is_image(clips: Float[Tensor, "B C T H W"]) -> bool:
    """Whether the clips have one frame."""
    return clips.ndim == 5 and clips.shape[2] == 1
