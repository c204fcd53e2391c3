"""The facade: set a clip once, then ask again and again what is predicted behind a mask."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers.utils import logging
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor

import vjepa
from decoder.pipeline import PredictionDecoderPipeline
from decoder.pixels import paste
from vjepa import masks
from vjepa.checkpoint import BUNDLED
from vjepa.config import ModelConfig
from vjepa.data.clips import normalize, read_frames
from vjepa.errors import InputError
from vjepa.grid import split, take
from vjepa.model import VJEPA, normalize_features


@dataclass(frozen=True)
class Prediction:
    """What the model predicts behind a mask.

    Attributes:
        frames: one clip a seed, decoded pixels pasted into the hidden region, RGB 0..255.
        ceiling: the same, decoded from the true features of the first seed's noise.
        predictions: predicted features of the hidden tokens, in order.
        error: L1 distance of prediction and layer-normed target on the grid, NaN where visible.
        timings: milliseconds of the stages context, predict, decode.
        typical_error: mean and standard deviation of a clip's error in the model's own
            evaluation, when its card has them.
    """

    frames: UInt8[np.ndarray, "S T H W 3"]
    ceiling: UInt8[np.ndarray, "T H W 3"]
    predictions: Float[Tensor, "M D"]
    error: Float[np.ndarray, "t h w"]
    timings: dict[str, float]
    typical_error: tuple[float, float] | None


@dataclass(frozen=True)
class MaskedFeatures:
    """What encoder and predictor make of a clip with a mask on it.

    Attributes:
        context: features of the visible tokens, which saw each other only.
        context_idx: which they are.
        predictions: predicted features of the hidden tokens, in the space of layer-normed targets.
        target_idx: which they are.
    """

    context: Float[Tensor, "K D"]
    context_idx: Int64[Tensor, " K"]
    predictions: Float[Tensor, "M D"]
    target_idx: Int64[Tensor, " M"]


@dataclass
class Clip:
    """A clip and what depends on it alone."""

    frames: UInt8[Tensor, "T H W 3"]
    pixels: Float[Tensor, "1 C T H W"]
    targets: Float[Tensor, "1 N D"]


@dataclass
class Stopwatch:
    """Milliseconds by stage."""

    times: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str):
        """Times what happens inside."""
        start = time.perf_counter()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times[name] = 1000 * (time.perf_counter() - start)


class Explorer:
    """A model and its decoder, with one clip at a time.

    What depends on the clip alone is computed once, by `set_clip`; `predict` runs the context
    encoder on the visible tokens, the predictor, and the decoder on the hidden ones, nothing else.
    """

    def __init__(
        self, model: VJEPA, pipeline: PredictionDecoderPipeline, card: dict | None = None
    ) -> None:
        self.model = model
        self.pipeline = pipeline
        self.card = card or {}
        self._clip: Clip | None = None

    @classmethod
    def load(
        cls,
        name: str | Path = "demo",
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Explorer:
        """A model with the decoder that lies beside it.

        Args:
            name: "demo", or a folder that holds `model/`, `decoder/` and perhaps `card.json`.
            device, dtype: as in `vjepa.load`.

        Raises:
            InputError: the folder, its model or its decoder is missing or of another model.
        """
        folder = BUNDLED[str(name)].parent if str(name) in BUNDLED else Path(name)
        if not (folder / "decoder" / "model_index.json").is_file():
            raise InputError(
                f"There is no decoder in {folder / 'decoder'}: train one with "
                "python -m decoder train, and put model/ and decoder/ side by side."
            )
        model = vjepa.load(folder / "model", device=device, dtype=dtype)
        pipeline = load_pipeline(folder / "decoder", model)
        card = folder / "card.json"
        return cls(model, pipeline, json.loads(card.read_text()) if card.is_file() else None)

    @property
    def config(self) -> ModelConfig:
        """Shape of the model."""
        return self.model.config

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        return self.model.grid

    @property
    def frames(self) -> UInt8[np.ndarray, "T H W 3"]:
        """The clip's frames, RGB 0..255."""
        return self._current.frames.numpy()

    @property
    def targets(self) -> Float[Tensor, "N D"]:
        """The clip's layer-normed target features."""
        return self._current.targets[0]

    @property
    def _current(self) -> Clip:
        if self._clip is None:
            raise InputError("There is no clip yet: call set_clip first.")
        return self._clip

    @torch.no_grad()
    def set_clip(
        self,
        source: str | Path | UInt8[np.ndarray, "T H W 3"],
        start: float = 0.0,
        fps: float | None = None,
    ) -> None:
        """Reads a clip and encodes it whole, once.

        Args:
            source: a video, a still image, or frames of the model's own size.
            start: seconds into the video.
            fps: frames a second; by default the published stride.

        Raises:
            InputError: no such file, no video, or frames of another size.
        """
        config = self.config
        if isinstance(source, str | Path):
            source = read_frames(source, config.image_size, config.num_frames, start, fps)
        expected = (config.num_frames, config.image_size, config.image_size, 3)
        if source.shape != expected or source.dtype != np.uint8:
            raise InputError(
                f"The model wants uint8 frames of shape {expected}, not {source.dtype} of "
                f"shape {source.shape}: read them with vjepa.read_frames."
            )
        frames = torch.tensor(source)
        pixels = normalize(frames).to(self.model.device, self.model.dtype).unsqueeze(0)
        targets = normalize_features(self.model.encode(pixels).float())
        self._clip = Clip(frames, pixels, targets)

    @torch.no_grad()
    def predict(
        self,
        mask: np.ndarray | Tensor,
        seeds: Sequence[int] = (0, 1, 2, 3),
        steps: int = 4,
        *,
        mask_type: str | int = "long",
        guidance_scale: float = 1.0,
        callback: Callable[[int, Tensor], None] | None = None,
    ) -> Prediction:
        """Predicts behind the mask, and decodes one sample a seed.

        Args:
            mask: bool (t, h, w), True = hidden.
            seeds: one sample each; the same seed gives the same sample.
            steps: of the diffusion; 1 gives the expected image.
            mask_type: which learned mask token stands for what is hidden, "short" or "long".
            guidance_scale: above 1 the decoder exaggerates what the features say.
            callback: called after each step of the diffusion.

        Raises:
            InputError: no clip yet; a mask of another shape, empty or full; no seed or no step.
        """
        clip, mask = self._current, masks.check(mask, self.grid)
        if steps < 1 or not seeds:
            raise InputError("Decoding needs at least one step and one seed.")
        watch = Stopwatch()
        seen = self._masked_features(mask, mask_type, watch)
        predictions, target_idx = seen.predictions.unsqueeze(0), seen.target_idx.unsqueeze(0)
        targets = take(clip.targets, target_idx)
        with watch.stage("decode"):
            tubelets = self._decode(
                predictions, targets, target_idx, seeds, steps, guidance_scale, callback
            )
        frames = paste(clip.frames, tubelets, mask, self.config).numpy()
        return Prediction(
            frames=frames[:-1],
            ceiling=frames[-1],
            predictions=predictions[0].cpu(),
            error=self._error_map(predictions, targets, mask),
            timings=watch.times,
            typical_error=self.typical_error,
        )

    @torch.no_grad()
    def features(
        self, mask: np.ndarray | Tensor, *, mask_type: str | int = "long"
    ) -> MaskedFeatures:
        """What encoder and predictor make of the clip behind a mask; nothing is decoded.

        Raises:
            InputError: no clip yet; a mask of another shape, empty or full.
        """
        return self._masked_features(masks.check(mask, self.grid), mask_type, Stopwatch())

    def _masked_features(
        self, mask: Tensor, mask_type: str | int, watch: Stopwatch
    ) -> MaskedFeatures:
        context_idx, target_idx = (idx.to(self.model.device) for idx in split(mask))
        with watch.stage("context"):
            context = self.model.encode_context(self._current.pixels, context_idx)
        with watch.stage("predict"):
            predictions = self.model.predict(context, context_idx, target_idx, mask_type).float()
        return MaskedFeatures(context[0], context_idx[0], predictions[0], target_idx[0])

    @property
    def layers(self) -> Float[Tensor, "L N D"]:
        """The clip's features after every block of the target encoder, the last one normed."""
        with torch.no_grad():
            return self.model.target_encoder.layers(self._current.pixels)[:, 0].float()

    @property
    def typical_error(self) -> tuple[float, float] | None:
        """Mean and standard deviation of a clip's error, from the model card."""
        found = self.card.get("prediction_error")
        return (found["mean"], found["std"]) if found else None

    def _decode(
        self, predictions, targets, target_idx, seeds, steps, guidance_scale, callback
    ) -> Float[Tensor, "S M P"]:
        """All seeds, and the ceiling from the true features, in one batch."""
        count = len(seeds)
        features = torch.cat([predictions.expand(count, -1, -1), targets])
        return self.pipeline(
            features,
            target_idx.expand(count + 1, -1),
            ["predicted"] * count + ["target"],
            [Generator().manual_seed(seed) for seed in (*seeds, seeds[0])],
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            callback_on_step_end=callback,
        )

    def _error_map(self, predictions: Tensor, targets: Tensor, mask: Tensor) -> np.ndarray:
        error = np.full(self.grid, np.nan, dtype=np.float32)
        error[mask.cpu().numpy()] = (predictions - targets).abs().mean(-1)[0].cpu().numpy()
        return error


def load_pipeline(folder: Path, model: VJEPA) -> PredictionDecoderPipeline:
    """The decoder in a folder, on the model's device and in its precision.

    Raises:
        InputError: it cannot be read, or it was trained for a model of another shape.
    """
    logging.disable_progress_bar()  # it would write to stderr, for half a second's work
    try:
        pipeline = PredictionDecoderPipeline.from_pretrained(
            folder, dtype=model.dtype, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder} holds no readable decoder: {error}") from error
    config = pipeline.network.config
    if tuple(config.grid) != model.grid or config.feature_dim != model.config.embed_dim:
        raise InputError(
            f"The decoder in {folder} belongs to a model with grid {tuple(config.grid)} and "
            f"{config.feature_dim} features; this one has {model.grid} and "
            f"{model.config.embed_dim}: train one with python -m decoder train --model."
        )
    return pipeline.to(model.device)
