"""The facade: set a clip once, then ask again and again what is predicted behind a mask."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Generator, Tensor

import decoder
import vjepa
from decoder.pairing import find_decoder, load_pipeline, train_command
from decoder.pipeline import STEPS, PredictionDecoderPipeline
from vjepa import masks
from vjepa.checkpoint import BUNDLED, read_json, require_predictor
from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.formats.files import exists
from vjepa.model import VJEPA
from vjepa.tokens import split

PLAYBACK_FPS = 8.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspection:
    """What the model predicts behind a mask; no decoder is needed.

    Attributes:
        predictions: predicted features of the hidden tokens, in order.
        error: L1 distance of prediction and layer-normed target on the grid, NaN where visible.
        timings: milliseconds of each stage: context, predict, and decode if there was one.
        typical_error: mean and standard deviation of a clip's error in the model's own
            evaluation, when its card has them.
    """

    predictions: Float[Tensor, "M O"]
    error: Float[np.ndarray, "t h w"]
    timings: dict[str, float]
    typical_error: tuple[float, float] | None

    def __repr__(self) -> str:
        """One line: a clip's numbers are thousands."""
        hidden, mean = len(self.predictions), float(np.nanmean(self.error))
        return f"<{type(self).__name__}: {hidden} tokens predicted, mean error {mean:.3f}>"


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(Inspection):
    """The same, decoded.

    Attributes:
        frames: one clip a seed, decoded pixels pasted into the hidden region, RGB 0..255.
        ceiling: the same, decoded from the true features of the first seed's noise.
    """

    frames: UInt8[np.ndarray, "S T H W 3"]
    ceiling: UInt8[np.ndarray, "T H W 3"]

    @property
    def panels(self) -> UInt8[np.ndarray, "T H W_all 3"]:
        """The samples side by side, and the ceiling on their right."""
        return np.concatenate([*self.frames, self.ceiling], axis=2)

    def save(self, path: str | Path, fps: float = PLAYBACK_FPS) -> None:
        """Writes the panels as a moving picture.

        Args:
            path: ends in .mp4 or .gif.
            fps: frames a second.

        Raises:
            InputError: another ending, or a rate that is not positive.
        """
        decoder.write_frames(path, self.panels, fps)

    def _repr_html_(self) -> str:
        """The panels as a notebook shows them: moving."""
        picture = base64.b64encode(decoder.gif_bytes(self.panels, PLAYBACK_FPS)).decode()
        words = f"{len(self.frames)} samples, and on the right the ceiling, from the true features"
        return f'<img src="data:image/gif;base64,{picture}" alt="{words}"><br>{words}'


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
    predictions: Float[Tensor, "M O"]
    target_idx: Int64[Tensor, " M"]


@dataclass
class EncodedClip:
    """A clip and what depends on it alone."""

    frames: UInt8[Tensor, "T H W 3"]
    pixels: Float[Tensor, "1 C T H W"]
    targets: Float[Tensor, "1 N O"]


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
    """A model, and its decoder if it has one, with one clip at a time.

    What depends on the clip alone is computed once, by `set_clip`; `inspect` runs the context
    encoder on the visible tokens and the predictor, `predict` also the decoder on the hidden ones,
    nothing else.

    Args:
        model: the frozen model.
        pipeline: its decoder; without one, everything but `predict` works.
        card: what is known of the model, from its card.json.
        train_command: the command that trains a decoder for it.
    """

    def __init__(
        self,
        model: VJEPA,
        pipeline: PredictionDecoderPipeline | None = None,
        card: dict | None = None,
        train_command: str = "python -m decoder train --model MODEL",
    ) -> None:
        self.model = model
        self.pipeline = pipeline
        self.card = card or {}
        self.train_command = train_command
        self._clip: EncodedClip | None = None

    @classmethod
    def load(
        cls,
        name: str | Path = "demo",
        *,
        decoder: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        num_frames: int | None = None,
        image_size: int | None = None,
    ) -> Explorer:
        """A model, with the decoder that lies beside it or was trained on it.

        Args:
            name: any model that `vjepa.load` opens, or a folder that holds `model/`, `decoder/`
                and perhaps `card.json`. Without a decoder there, one is found by the model's
                fingerprint (`decoder.pairing.find_decoder`).
            decoder: the folder of its decoder, where it is to be another one.
            device, dtype, num_frames, image_size: as in `vjepa.load`.

        Raises:
            InputError: there is no such model, or the decoder in the folder is another model's.
        """
        name, folder = _resolve(name)
        size = {"num_frames": num_frames, "image_size": image_size}
        model = vjepa.load(name, device=device, dtype=dtype, **size)
        beside = folder / "decoder" if folder and not any(size.values()) else None
        if decoder is not None:
            beside = Path(decoder)
        elif beside is None or not beside.is_dir():
            beside = find_decoder(model, folder / "model" if folder else Path(name))
        return cls(
            model,
            load_pipeline(beside, model) if beside else None,
            _read_card(folder),
            train_command(name, model.config, **size),
        )

    def beside(self) -> Explorer:
        """The same model and decoder with a clip of its own: for another thread, side by side."""
        pipeline = self.pipeline.beside() if self.pipeline else None
        return Explorer(self.model, pipeline, self.card, self.train_command)

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
    def targets(self) -> Float[Tensor, "N O"]:
        """The clip's layer-normed target features."""
        return self._current.targets[0]

    @property
    def _current(self) -> EncodedClip:
        if self._clip is None:
            raise InputError("There is no clip yet: call set_clip first.")
        return self._clip

    @torch.no_grad()
    def set_clip(
        self,
        clip: str | Path | UInt8[np.ndarray, "T H W 3"],
        start: float = 0.0,
        fps: float | None = None,
    ) -> None:
        """Reads a clip and encodes it whole, once.

        Args:
            clip: a video, a still image, or frames of the model's own size.
            start: seconds into the video.
            fps: frames a second; by default the published stride.

        Raises:
            InputError: no such file, no video, or frames of another size.
        """
        config = self.config
        if isinstance(clip, str | Path):
            clip = vjepa.read_frames(clip, config.image_size, config.num_frames, start, fps)
        expected = (config.num_frames, config.image_size, config.image_size, 3)
        if clip.shape != expected or clip.dtype != np.uint8:
            raise InputError(
                f"The model wants uint8 frames of shape {expected}, not {clip.dtype} of "
                f"shape {clip.shape}: read them with vjepa.read_frames."
            )
        frames = torch.tensor(clip)
        pixels = vjepa.normalize(frames).to(self.model.device, self.model.dtype).unsqueeze(0)
        self._clip = EncodedClip(frames, pixels, self.model.target_features(pixels))

    @torch.no_grad()
    def predict(
        self,
        mask: np.ndarray | Tensor,
        seeds: Sequence[int] = (0, 1, 2, 3),
        steps: int = STEPS,
        *,
        mask_type: str | int = "long",
        guidance_scale: float = 1.0,
        callback: Callable[[int, Tensor, Tensor], None] | None = None,
    ) -> Prediction:
        """Predicts behind the mask, and decodes one sample a seed.

        Args:
            mask: bool (t, h, w), True = hidden.
            seeds: one sample each; the same seed gives the same sample.
            steps: of the diffusion; 1 gives the expected image.
            mask_type: which learned mask token stands for what is hidden, "short" or "long".
            guidance_scale: above 1 the decoder exaggerates what the features say.
            callback: called in each step of the diffusion with (step, tubelets given, guessed).

        Raises:
            InputError: no clip yet; a mask of another shape, empty or full; no seed or no step; no
                decoder, with the command that trains one.
        """
        clip, mask = self._current, masks.check(mask, self.grid)
        if steps < 1 or not seeds:
            raise InputError("Decoding needs at least one step and one seed.")
        self.require_decoder()
        watch = Stopwatch()
        seen = self._masked_features(mask, mask_type, watch)
        targets = clip.targets[:, seen.target_idx]
        with watch.stage("decode"):
            tubelets = self._decode(seen, targets, seeds, steps, guidance_scale, callback)
        frames = self.paste(tubelets, mask)
        found = self._inspection(seen, mask, watch)
        return Prediction(frames=frames[:-1], ceiling=frames[-1], **vars(found))

    def paste(
        self, tubelets: Float[Tensor, "S M P"], mask: Bool[Tensor, "t h w"]
    ) -> UInt8[np.ndarray, "S T H W 3"]:
        """The clip with the decoder's tubelets where the mask hides, one clip a sample."""
        canvas = self.pipeline.canvas(self.config)
        return canvas.paste(self._current.frames, tubelets, mask).numpy()

    @torch.no_grad()
    def inspect(self, mask: np.ndarray | Tensor, *, mask_type: str | int = "long") -> Inspection:
        """Predicts behind the mask, without decoding.

        Raises:
            InputError: no clip yet; a mask of another shape, empty or full.
        """
        mask, watch = masks.check(mask, self.grid), Stopwatch()
        return self._inspection(self._masked_features(mask, mask_type, watch), mask, watch)

    def require_decoder(self) -> None:
        """Checks that there is a decoder.

        Raises:
            InputError: there is none; the message holds the command that trains one, or says that
                this model predicts nothing.
        """
        require_predictor(self.config)
        if self.pipeline is None:
            raise InputError(
                f"This model has no decoder yet; train one, with the folder of your videos after "
                f"--data: {self.train_command}"
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
        self, seen: MaskedFeatures, targets, seeds, steps, guidance_scale, callback
    ) -> Float[Tensor, "S M P"]:
        """All seeds, and the ceiling from the true features, in one batch."""
        count = len(seeds)
        features = torch.cat([seen.predictions.expand(count, -1, -1), targets])
        return self.pipeline(
            features,
            seen.target_idx.expand(count + 1, -1),
            ["predicted"] * count + ["target"],
            [Generator().manual_seed(seed) for seed in (*seeds, seeds[0])],
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            callback_on_step_end=callback,
        )

    def _inspection(self, seen: MaskedFeatures, mask: Tensor, watch: Stopwatch) -> Inspection:
        distance = (seen.predictions - self.targets[seen.target_idx]).abs().mean(-1)
        error = np.full(self.grid, np.nan, dtype=np.float32)
        error[mask.cpu().numpy()] = distance.cpu().numpy()
        return Inspection(
            predictions=seen.predictions.cpu(),
            error=error,
            timings=watch.times,
            typical_error=self.typical_error,
        )


def _resolve(name: str | Path) -> tuple[str | Path, Path | None]:
    """What `vjepa.load` is to open, and the folder that model and decoder share, if they do."""
    if str(name) in BUNDLED:
        return name, BUNDLED[str(name)].parent
    inside = Path(name) / "model"
    return (inside, inside.parent) if exists(inside) and inside.is_dir() else (name, None)


def _read_card(folder: Path | None) -> dict:
    path = folder / "card.json" if folder else None
    return read_json(path) if path and path.is_file() else {}
