"""V-JEPA 2 and 2.1 (Assran et al. 2025), and all that they change of V-JEPA.

Both turn queries and keys by where a token lies, and are published with one encoder, which is
context encoder and target encoder. 2.1 stretches positions to a fixed side, has a tokenizer for
still images, takes features out at four depths, and learned from visible tokens too. Two of these
are of use for small models that are trained from scratch: the positions (`RotaryVJEPA`) and the
loss on visible tokens (`DenseVJEPA`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.masks import Grid, MaskBatch
from vjepa.model import VJEPA
from vjepa.tokens import SinCosPositions, patchify, take
from vjepa.transformer import Encoder, Predictor, Turn

STRETCHED_SIDE = 16
"""V-JEPA 2.1's encoder stretches rows and columns to those of a grid with this side (256 pixels),
and in training its predictor does; the published predictor does not."""


class RotaryPositions(nn.Module):
    """Rotary positions: queries and keys are turned by where their token lies.

    A third of a head's numbers, rounded down to pairs, turns with each axis (t, h, w); what is
    left over stays. Pair k of an axis of d numbers turns by position * 10000^(-2 k / d).

    Args:
        config: gives the grid.
        head_dim: numbers in an attention head.
        tiled: V-JEPA 2 lays the angles out as [all, all] although it turns neighbours, so that
            the two numbers of a pair turn by different angles: no rotation, but what its weights
            were trained with. V-JEPA 2.1 repeats each angle.
        side: of the grid to whose rows and columns all are stretched; 0: none are.
    """

    def __init__(
        self, config: ModelConfig, head_dim: int, *, tiled: bool = False, side: int = 0
    ) -> None:
        super().__init__()
        self.grid, self.head_dim = config.grid, head_dim
        self.tiled, self.side = tiled, side
        self.place()

    def place(self, grid: tuple[int, int, int] | None = None, table: None = None) -> None:
        """Computes the positions; they depend on no table and on no clips of training."""
        self.register_buffer("table", self._rotations(self.grid), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "B K D"],
        idx: Int64[Tensor, "B K"] | None,
        grid: tuple[int, int, int] | None = None,
    ) -> tuple[Float[Tensor, "B K D"], Turn]:
        """The tokens as they are, and how attention turns them.

        Args:
            x: embedded tokens.
            idx: where they lie; all of the grid, in order, when None.
            grid: the clips', when it is not the model's.
        """
        table = self.table if grid in (None, self.grid) else self._rotations(grid)
        rotation = table.to(x)[:, None] if idx is None else table.to(x)[:, idx]
        return x, partial(rotate, rotation=rotation)

    def _rotations(self, grid: tuple[int, int, int]) -> Float[Tensor, "2 N hd"]:
        """Cosines and sines of every token's angles."""
        size = self.head_dim // 3 // 2 * 2
        omega = 10000 ** -(torch.arange(size // 2, dtype=torch.float64) * 2 / size)
        axes = [_axis(grid[0], 0), _axis(grid[1], self.side), _axis(grid[2], self.side)]
        positions = torch.meshgrid(*axes, indexing="ij")
        angles = [p.flatten()[:, None] * omega for p in positions]  # 3 x (N, size / 2)
        if self.tiled:
            angles = [torch.cat([a, a], dim=1) for a in angles]
        else:
            angles = [a.repeat_interleave(2, dim=1) for a in angles]
        still = torch.zeros(len(angles[0]), self.head_dim - 3 * size, dtype=torch.float64)
        table = torch.cat([*angles, still], dim=1)
        return torch.stack([table.cos(), table.sin()]).float()


def head_dims(config: ModelConfig) -> tuple[int, int]:
    """Numbers in an attention head of the encoder, and of the predictor."""
    return (
        config.embed_dim // config.num_heads,
        config.predictor_embed_dim // config.predictor_num_heads,
    )


def _axis(count: int, side: int) -> Float[Tensor, " count"]:
    positions = torch.arange(count, dtype=torch.float64)
    if not side or count == 1:  # one row lies at 0, where the official code has 0 / 0
        return positions
    return positions * (side - 1) / (count - 1)


def rotate(
    x: Float[Tensor, "B H K hd"], rotation: Float[Tensor, "2 _ K hd"]
) -> Float[Tensor, "B H K hd"]:
    """Queries or keys, neighbouring numbers turned against each other."""
    cos, sin = rotation.unsqueeze(2)  # each (B, 1, K, hd)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cos + torch.stack([-odd, even], dim=-1).flatten(-2) * sin


class AddedAndRotary(nn.Module):
    """Positions that are added, and by which queries and keys turn as well.

    A predictor that learned with added positions goes on almost as it was when it is given
    rotations too, and learns to use them.

    Args:
        config: gives the grid.
        dim: width of the tokens.
        head_dim: numbers in an attention head.
    """

    def __init__(self, config: ModelConfig, dim: int, head_dim: int) -> None:
        super().__init__()
        self.added = SinCosPositions(config, dim)
        self.rotary = RotaryPositions(config, head_dim)

    def forward(
        self,
        x: Float[Tensor, "B K D"],
        idx: Int64[Tensor, "B K"] | None,
        grid: tuple[int, int, int] | None = None,
    ) -> tuple[Float[Tensor, "B K D"], Turn]:
        """The tokens with their positions, and how attention turns them; as in `Encoder`."""
        return self.rotary(self.added(x, idx, grid)[0], idx, grid)


def parts(config: ModelConfig, output_dim: int | None = None) -> tuple[Encoder, Predictor]:
    """Encoder and predictor of a model that is trained from scratch.

    Args:
        config: shape of the model; its family says which positions the predictor has: "vjepa" or
            "vjepa-rotary".
        output_dim: width of a prediction, as in `Predictor`.
    """
    if config.family == "vjepa":
        return Encoder(config), Predictor(config, output_dim)
    position = AddedAndRotary(config, config.predictor_embed_dim, head_dims(config)[1])
    return Encoder(config), Predictor(config, output_dim, position)


class RotaryVJEPA(VJEPA):
    """V-JEPA whose predictor turns by position: "the same place a moment ago" is one head's ask."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, *parts(config))


CONTEXT_WEIGHT = 0.5
"""Of the loss on visible tokens, beside 1 for the hidden ones."""


class DenseVJEPA(VJEPA):
    """V-JEPA whose context features must also tell the targets of their own tokens.

    V-JEPA asks only for what is hidden. A small encoder then finds that positions are all it
    needs, and forgets what it sees: it collapses. V-JEPA 2.1 adds a loss on the visible tokens
    (its "dense predictive loss"); here a linear head on the context encoder reads it, and is
    thrown away after training.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, *parts(config))
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
        model = VJEPA(self.config, *parts(self.config)).to(self.device, self.dtype)
        kept = model.state_dict().keys()
        model.load_state_dict({name: t for name, t in self.state_dict().items() if name in kept})
        return model


class VJEPA2(VJEPA):
    """A published V-JEPA 2: its one encoder is context encoder and target encoder.

    Hidden tokens are dropped *before* the encoder. The transformers model, asked with a context
    mask, encodes the whole clip and gathers afterwards: there, what is hidden reaches the context.
    """

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)  # VJEPA would copy the encoder
        self.config = config
        head, predictor_head = head_dims(config)
        self.encoder = Encoder(config, RotaryPositions(config, head, tiled=True))
        self.predictor = Predictor(
            config, position=RotaryPositions(config, predictor_head, tiled=True)
        )

    @property
    def target_encoder(self) -> Encoder:
        """The encoder."""
        return self.encoder


TAPPED_BLOCKS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}
"""Blocks, by the encoder's depth, after which V-JEPA 2.1 takes features out."""


class Encoder21(Encoder):
    """The encoder; a clip of one frame is an image, which has a tokenizer of its own.

    Raises:
        InputError: no V-JEPA 2.1 has as many blocks.
    """

    def __init__(self, config: ModelConfig) -> None:
        if config.depth not in TAPPED_BLOCKS:
            depths = ", ".join(map(str, TAPPED_BLOCKS))
            raise InputError(f"V-JEPA 2.1 has encoders of {depths} blocks, not {config.depth}.")
        super().__init__(config, RotaryPositions(config, head_dims(config)[0], side=STRETCHED_SIDE))
        dim, side = config.embed_dim, config.patch_size
        self.patch_embed_img = nn.Conv3d(3, dim, kernel_size=(1, side, side))
        self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.level_norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for _ in range(3))

    def multilayer(
        self, clips: Float[Tensor, "B C T H W"], idx: Int64[Tensor, "B K"] | None = None
    ) -> Float[Tensor, "B K LD"]:
        """Features from four depths, each with a norm of its own, shallow to deep, side by side.

        Raises:
            InputError: clips that cannot be cut into tubelets.
        """
        (x, turn), outputs = self._enter(clips, idx), []
        layers = TAPPED_BLOCKS[self.config.depth]
        norms = dict(zip(layers, [*self.level_norms, self.norm], strict=True))
        for i, block in enumerate(self.blocks):
            x = block(x, turn)
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

    def grid_of(self, clips: Float[Tensor, "B C T H W"]) -> Grid:
        """Tokens of these clips along time, height and width; an image's are one layer.

        Raises:
            InputError: they are no clips.
        """
        t, h, w = super().grid_of(clips)
        return (1 if is_image(clips) else t), h, w


class Predictor21(Predictor):
    """The predictor; it also says what it makes of the tokens that it sees."""

    def __init__(self, config: ModelConfig) -> None:
        side, head = config.predictor_side, head_dims(config)[1]
        super().__init__(config, position=RotaryPositions(config, head, side=side))
        dim, encoder_dim = config.predictor_embed_dim, config.embed_dim
        if config.target_layers > 1:
            self.embed = nn.Sequential(
                nn.Linear(config.target_layers * encoder_dim, encoder_dim),
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
        grid: Grid | None = None,
        *,
        image: bool = False,
    ) -> tuple[Float[Tensor, "B M O"], Float[Tensor, "B K O"]]:
        """What is predicted of the hidden tokens, and what is made of the visible ones.

        Args:
            context: features of the visible tokens, of all layers.
            context_idx, target_idx: where they lie, and where to predict.
            mask_type: "short" or "long", or the index of a mask token.
            grid: the clips', when it is not the model's.
            image: whether the tokens are a still image's.
        """
        x, idx = self._join(context, context_idx, target_idx, mask_type)
        x = self._process(x + (self.img_mod_embed if image else self.video_mod_embed), idx, grid)
        visible, hidden = x.split([context_idx.shape[1], target_idx.shape[1]], dim=1)
        return self.proj(hidden), self.proj_context(visible)


class DeepVJEPA(VJEPA):
    """A V-JEPA of 2.1's encoders and predictor: features of four depths go in and are predicted."""

    def encode_context(
        self,
        clips: Float[Tensor, "B C T H W"],
        context_idx: Int64[Tensor, "B K"],
        grid: Grid | None = None,
    ) -> Float[Tensor, "B K E"]:
        """Features of the visible tokens, of all layers that the predictor takes.

        Raises:
            InputError: clips of another size than the model's, unless `grid` is theirs. A still
                image lies where a clip's first layer does: it needs none.
        """
        if not is_image(clips):
            self._require_grid(clips, grid)
        if self.config.target_layers > 1:
            return self.encoder.multilayer(clips, context_idx)
        return self.encoder(clips, context_idx)

    def predict(
        self,
        context: Float[Tensor, "B K E"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
        grid: Grid | None = None,
        *,
        image: bool = False,
    ) -> Float[Tensor, "B M O"]:
        """Predictions for the hidden tokens of a clip, or of an image."""
        return self.predictor(context, context_idx, target_idx, mask_type, grid, image=image)[0]

    @torch.no_grad()
    def target_features(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N O"]:
        """Features of every token in the space of the predictions, in float32.

        Those of the encoder's four layers, each layer-normed; of a distilled model, what its
        predictor makes of the whole clip.
        """
        if not self.config.teacher_dim:
            layers = rearrange(
                self.target_encoder.multilayer(clips),
                "b n (l d) -> b n l d",
                l=self.config.target_layers,
            )
            return F.layer_norm(layers.float(), layers.shape[-1:]).flatten(2)
        grid = self.encoder.grid_of(clips)
        everything = torch.arange(math.prod(grid), device=self.device).expand(len(clips), -1)
        context = self.encode_context(clips, everything, grid)
        nothing, image = everything[:, :0], is_image(clips)
        return self.predictor(context, everything, nothing, grid=grid, image=image)[1].float()


class VJEPA21(DeepVJEPA, VJEPA2):
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


def is_image(clips: Float[Tensor, "B C T H W"]) -> bool:
    """Whether the clips have one frame."""
    return clips.ndim == 5 and clips.shape[2] == 1
