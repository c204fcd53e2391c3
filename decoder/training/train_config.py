"""The settings of a decoder's training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vjepa.errors import InputError
from vjepa.training import RunConfig


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a decoder's training run is made of; the defaults are the bundled decoder's.

    Attributes:
        model: the frozen model, by name or path.
        begin_with: folder of a decoder, of any model, whose weights are taken over where they fit.
        num_frames, image_size: of its clips, when they are not those it was trained on.
        data: "world", "pans", "bundled", a .npy file of stored clips, a folder of videos, a list
            of them, or several, as in "8*world+pans".
        cache_clips: what the model says of so many clips is computed once and kept on disk, and
            every epoch takes it with other noise; 0 asks the model at every step.
        cache: folder where it is kept, `out`/cache if not given; runs on the same model and data
            can share it.
        width, depth, num_heads: size of the network; 512, 8, 8 suit a model as large as ViT-L.
        overlap: margin, in pixels, in which neighbouring tokens are blended.
        weight_decay: of matrices.
        ema: greatest momentum of the averaged weights, which are the ones that are kept.
        feature_noise: noise on the condition, against drift of the predictor.
        target_share, null_share: samples conditioned on true features, and on nothing.
    """

    model: str = "demo"
    begin_with: Path | None = None
    num_frames: int | None = None
    image_size: int | None = None
    data: str = "world"
    cache_clips: int = 0
    cache: Path | None = None
    width: int = 256
    depth: int = 4
    num_heads: int = 4
    overlap: int = 4
    steps: int = 3000
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.999
    feature_noise: float = 0.1
    target_share: float = 0.25
    null_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.num_heads:
            raise InputError(f"width ({self.width}) must be a multiple of num_heads.")
        if self.overlap < 0:
            raise InputError(f"overlap must be 0 (none) or more pixels, not {self.overlap}.")
        if self.cache_clips < 0:
            raise InputError(f"cache_clips must be 0 (no cache) or more, not {self.cache_clips}.")
