"""Which decoder belongs to which model: by the fingerprint of the weights it was trained on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from diffusers.utils import logging

from decoder.network import TokenDecoder
from decoder.pipeline import PredictionDecoderPipeline
from vjepa.checkpoint import BUNDLED, Fingerprint, default_device, read_json
from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.formats import published
from vjepa.model import VJEPA

CACHE_CLIPS, CACHE_BYTES = 4096, 16_000_000_000
"""What the command for a new decoder keeps on disk, at most; a clip of ViT-L takes 8 MB."""
YOURS = "YOUR_VIDEOS"
"""Stands in the command for the folder that a person has."""


def find_decoder(model: VJEPA, near: Path | None = None) -> Path | None:
    """The folder of the decoder that was trained on this model and on clips of its size.

    Args:
        model: whose features are to be decoded.
        near: file or folder of the model: `decoder/` in it, beside it, and in the folders beside it
            is looked at first, then that of every folder in the folder of models.
    """
    ours = Fingerprint(model)
    for folder in _candidates(near):
        config = _network_config(folder)
        same_grid = tuple(config.get("grid", ())) == model.grid
        if same_grid and ours.matches(str(config.get("model_fingerprint"))):
            return folder
    return None


def load_pipeline(folder: Path, model: VJEPA) -> PredictionDecoderPipeline:
    """The decoder in a folder, on the model's device and in its precision.

    Raises:
        InputError: it cannot be read, or it was trained for another model, or for its clips in
            another size.
    """
    logging.disable_progress_bar()  # it would write to stderr, for half a second's work
    try:
        pipeline = PredictionDecoderPipeline.from_pretrained(
            folder, dtype=model.dtype, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder} holds no readable decoder: {error}") from error
    require_pair(pipeline.network, model, folder)
    return pipeline.to(model.device)


def require_pair(network: TokenDecoder, model: VJEPA, folder: Path) -> None:
    """Checks that a decoder belongs to a model; of one that does not say, the shapes alone.

    Raises:
        InputError: it was trained for another model, or for its clips in another size.
    """
    theirs, shape = network.config, model.config
    if tuple(theirs.grid) != model.grid or theirs.feature_dim != shape.output_dim:
        raise InputError(
            f"The decoder in {folder} belongs to a model with grid {tuple(theirs.grid)} and "
            f"{theirs.feature_dim} features; this one has {model.grid} and {shape.output_dim}: "
            "train one with python -m decoder train --model."
        )
    known, ours = theirs.model_fingerprint, Fingerprint(model)
    if known is not None and not ours.matches(known):
        raise InputError(
            f"The decoder in {folder} belongs to the model {theirs.model_name or 'without a name'} "
            f"({known.partition('-')[0]}), not to this one ({ours}): train one with "
            "python -m decoder train --model."
        )


def train_command(
    name: str | Path,
    config: ModelConfig,
    *,
    data: str | Path = YOURS,
    num_frames: int | None = None,
    image_size: int | None = None,
) -> str:
    """The command that trains a decoder where `find_decoder` will look for it.

    Of a size that suits the model; with a cache where there is no GPU, which is as fast without.

    Args:
        name: the model, by name or path.
        config: its shape.
        data: what to train on: a folder of videos, or a word for one.
        num_frames, image_size: of its clips, when they are not those it was trained on.
    """
    words = ["python", "-m", "decoder", "train", "--model", str(name), "--data", str(data)]
    words += ["--size", size_for(config)]
    words += ["--num-frames", str(num_frames)] if num_frames else []
    words += ["--image-size", str(image_size)] if image_size else []
    if default_device().type == "cpu":
        clip = config.num_tokens * (4 * config.output_dim + config.tubelet_dim)
        words += ["--cache-clips", str(min(CACHE_CLIPS, CACHE_BYTES // clip))]
    return shlex.join([*words, "--out", str(default_folder(name))])


def size_for(config: ModelConfig) -> str:
    """The size of decoder, one of `SIZES`, for a model: about as wide as its tokens."""
    if config.embed_dim < 512:
        return "demo"
    return "B" if config.embed_dim <= 1024 else "L"


def default_folder(name: str | Path) -> Path:
    """Where the training of a model's decoder is kept, so that `find_decoder` finds it.

    Beside the model, or in the folder of models for one that has only a name.
    """
    path = Path(name)
    near = published.models_folder()
    if path.exists():
        near = _run_folder(path).parent
    return near / f"{short_name(name)}-decoder"


def _run_folder(path: Path) -> Path:
    """What a model's path stands for: pretraining calls its result `model`, in the run's folder."""
    return path.parent if path.name == "model" else path


def short_name(name: str | Path) -> str:
    """What a model is called: the file or folder without its endings, `mine` of `mine/model`."""
    return _run_folder(Path(name)).name.split(".")[0]


def read_of(name: str | Path) -> list[Path]:
    """The files and folders that opening a model, and the decoder beside it, may read."""
    path = BUNDLED.get(str(name)) or published.find(str(name)) or Path(name)
    return [path, _run_folder(path), path.parent / "config.json"]


def _candidates(near: Path | None) -> Iterator[Path]:
    """Folders that may hold a decoder, likely ones first."""
    roots = [published.models_folder()]
    if near is not None:
        yield near / "decoder"
        yield near.parent / "decoder"
        roots.insert(0, _run_folder(near).parent)
    for root in roots:
        yield from sorted(root.glob("*/decoder"))


def _network_config(folder: Path) -> dict:
    """What a decoder says of itself; nothing where there is none that can be read."""
    path = folder / "network" / "config.json"
    try:
        return read_json(path) if path.is_file() else {}
    except InputError:
        return {}
