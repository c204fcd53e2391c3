"""Clips in: frames from a video file or a still image, and their normalisation.

Everything up to `read_frames` works without torch, so that a page can show a clip before a model
(or torch itself) is loaded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from vjepa.errors import InputError

if TYPE_CHECKING:
    import torch

    from vjepa.config import ModelConfig

BUNDLED = Path(__file__).resolve().parents[2] / "assets" / "clips"

#: Frames per second when the caller names none: every fourth frame of a 30 fps video, as V-JEPA
#: was trained, so 16 frames see about two seconds.
DEFAULT_FPS = 7.5

VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def bundled_clips() -> dict[str, Path]:
    """The real clips that ship with the project: name -> path of an .mp4, in order of name."""
    return {path.stem: path for path in sorted(BUNDLED.glob("*.mp4"))}


UNTRAINED = ("bigbuckbunny", "cup_tilt_zoom")
"""Real clips that no bundled model is trained on: they test it."""


def training_clips() -> list[Path]:
    """The real clips that ship with the project and may be trained on."""
    return [path for name, path in bundled_clips().items() if name not in UNTRAINED]


def is_video(path: Path) -> bool:
    """Whether a path is called like a video, and is not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def find_videos(folder: Path) -> list[Path]:
    """All videos below a folder, in order of path.

    Raises:
        InputError: there is none.
    """
    found = sorted(filter(is_video, folder.rglob("*")))
    if not found:
        raise InputError(f"{folder} holds no video: put {', '.join(VIDEO_SUFFIXES)} files there.")
    return found


def read_frames(
    source: str | Path,
    image_size: int,
    num_frames: int,
    start: float = 0.0,
    fps: float | None = None,
) -> UInt8[np.ndarray, "t s s 3"]:
    """Read a square clip from a video, or repeat a still image.

    Frames are equally spaced: the step is the whole number of source frames nearest to the wanted
    rate, because an uneven step would make smooth motion judder. A video too short for that step
    gets a smaller one, so that the clip has `num_frames` different frames wherever the video has as
    many left after `start`; below that, neighbouring frames repeat.

    The short side is resized to `image_size` and the centre kept. (The official evaluation resizes
    to 256/224 of that and so cuts off a further eighth; here nothing of the short side is lost.)

    Args:
        source: path of a video or of an image file.
        image_size: height and width of the clip in pixels.
        num_frames: T.
        start: where the clip begins, in seconds from the first frame.
        fps: frames per second of the clip; the default is 7.5.

    Returns:
        RGB 0..255, (T, H, W, 3).

    Raises:
        InputError: the file is missing, empty, no video or image, or has no frames; `start` is past
            its end; a number is negative or not finite.
    """
    _check_numbers(image_size, num_frames, start, fps)
    path = existing_file(source)
    still = read_still(path)
    if still is not None:
        return np.repeat(square(still, image_size)[None], num_frames, axis=0)
    return _read_video(path, image_size, num_frames, start, fps or DEFAULT_FPS)


def read_clip(
    source: str | Path, config: ModelConfig, start: float = 0.0, fps: float | None = None
) -> torch.Tensor:
    """Read a clip as the model wants it: float32 (C, T, H, W), ImageNet-normalised.

    Sizes come from `config`; everything else is as in `read_frames`.
    """
    return normalize(read_frames(source, config.image_size, config.num_frames, start, fps))


def normalize(frames: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 RGB (..., T, H, W, 3) -> float32 (..., C, T, H, W), ImageNet mean 0 and std 1.

    A tensor stays on its device.
    """
    import torch

    if isinstance(frames, np.ndarray):
        frames = torch.tensor(frames)
    if frames.dtype != torch.uint8 or frames.ndim < 4 or frames.shape[-1] != 3:
        shape, dtype = tuple(frames.shape), str(frames.dtype).removeprefix("torch.")
        raise InputError(f"Frames must be uint8 (..., T, H, W, 3) in RGB, not {dtype} {shape}.")
    mean, std = _channel_stats(frames.device)
    return frames.movedim(-1, -4).float().div_(255).sub_(mean).div_(std)


def denormalize(clip: torch.Tensor) -> torch.Tensor:
    """Inverse of `normalize`: float (..., C, T, H, W) -> uint8 RGB (..., T, H, W, 3), clamped."""
    mean, std = _channel_stats(clip.device)
    pixels = clip.float().mul(std).add_(mean).mul_(255).round_().clamp_(0, 255)
    return pixels.byte().movedim(-4, -1)


def frame_indices(
    available: int, native_fps: float, num_frames: int, first: int, fps: float
) -> list[int]:
    """Which of a video's `available` frames make up a clip that begins at frame `first`.

    Equally spaced and inside the video; see `read_frames` for what a short video gets.
    """
    room, steps = available - 1 - first, max(1, num_frames - 1)
    wanted = native_fps / fps if math.isfinite(native_fps) else 1  # a still GIF lasts no time
    step = min(max(1, round(wanted)), room // steps)
    if step >= 1:
        return [first + step * i for i in range(num_frames)]
    return [first + round(room * i / steps) for i in range(num_frames)]


def _check_numbers(image_size: int, num_frames: int, start: float, fps: float | None) -> None:
    if image_size < 1 or num_frames < 1:
        raise InputError(f"A clip of {num_frames} frames at {image_size} px cannot be read.")
    if not (math.isfinite(start) and start >= 0):
        raise InputError(f"Start must be zero or more seconds, not {start}.")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"Frames per second must be a positive number, not {fps}.")


def existing_file(source: str | Path) -> Path:
    """The path of a file that is there and not empty; else an InputError."""
    path = Path(source)
    if not is_file(path):
        raise InputError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty: choose another file.")
    return path


def is_file(path: Path) -> bool:
    """Whether a file is there; False also for a name that no disk can hold."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_still(path: Path) -> np.ndarray | None:
    """The RGB pixels (H, W, 3) of an image file; None for anything that moves or is no image."""
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                return None
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name} is a damaged or oversized image: choose another.") from error


def _read_video(
    path: Path, image_size: int, num_frames: int, start: float, fps: float
) -> UInt8[np.ndarray, "t s s 3"]:
    reader = open_video(path)
    first = _frame_at(reader, start, path.name)
    indices = frame_indices(len(reader), reader.get_avg_fps(), num_frames, first, fps)
    return decode(reader, path.name, indices, lambda image: square(image, image_size))


def open_video(path: Path, threads: int = 0) -> Any:
    """A decord reader with `threads` threads (0: its choice); InputError if there is no video."""
    decord = _import_decord()
    decord.logging.set_level(decord.logging.QUIET)  # what is wrong is said by our exception
    try:
        state = path.stat()
        has_pictures = _has_pictures(path, state.st_mtime_ns, state.st_size)
        reader = decord.VideoReader(str(path), num_threads=threads) if has_pictures else None
    except Exception as error:  # both raise a different class for each way a file can be bad
        raise InputError(
            f"{path.name} is no video that can be read: choose an mp4, webm, avi, gif or image."
        ) from error
    if reader is None:
        raise InputError(f"{path.name} holds no pictures, only sound or data: choose a video.")
    return reader


@lru_cache(maxsize=4096)
def _has_pictures(path: Path, changed: int, size: int) -> bool:
    """Whether a file holds video, asked before decord, which would complain on stderr.

    Takes a tenth of the time of reading a clip, so a file is asked once for as long as it stays
    what it was.
    """
    import av

    with av.open(str(path)) as container:
        return bool(container.streams.video)


_IMPORTING = Lock()


def _import_decord() -> Any:
    """decord, without the CUDA libraries that PyTorch brought along.

    For its GPU builds decord2 makes all of them global. One is libnvblas, which then stands in for
    torch's BLAS, and without a GPU it leads nowhere: a crash at the next float32 product. They are
    looked for in the package `nvidia`, which is therefore out of sight during the import.
    """
    with _IMPORTING:
        if "decord" in sys.modules:
            return sys.modules["decord"]
        nvidia = sys.modules.pop("nvidia", None)
        sys.modules["nvidia"] = None
        try:
            import decord
        finally:
            sys.modules.pop("nvidia")
            if nvidia:
                sys.modules["nvidia"] = nvidia
    return decord


def decode(
    reader: Any, name: str, indices: list[int], crop: Callable[[np.ndarray], np.ndarray]
) -> UInt8[np.ndarray, "t ..."]:
    """The frames at `indices`, cropped; InputError names the video where one cannot be decoded.

    A single forward pass: no frame is decoded twice, and one full-size frame is in memory.
    """
    try:
        decoded = {i: crop(_rgb(reader[i].asnumpy())) for i in sorted(set(indices))}
    except Exception as error:
        raise InputError(f"{name} is damaged: its frames cannot be decoded.") from error
    return np.stack([decoded[i] for i in indices])


def _rgb(frame: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as it was meant: at some widths (48, 96, 144) decord takes a row's end for channels.

    Rows are padded; where the padded length is a multiple of the width, the frame comes with more
    than three channels and its pixels displaced.
    """
    height, width, _ = frame.shape
    return frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _frame_at(reader: Any, start: float, name: str) -> int:
    """Index of the frame on screen at `start`; by time stamps, as phones record uneven ones."""
    times = reader.get_frame_timestamp(range(len(reader)))
    begins, duration = times[:, 0] - times[0, 0], float(times[-1, 1] - times[0, 0])
    if start >= duration > 0:
        raise InputError(f"{name} lasts {duration:.2f} s: start before that, not at {start} s.")
    # half a millisecond forgives the rounding of a time that was meant to hit a frame exactly
    return max(0, int(np.searchsorted(begins, start + 5e-4, side="right")) - 1)


def square(
    image: UInt8[np.ndarray, "h w 3"], size: int, place: float = 0.5
) -> UInt8[np.ndarray, "s s 3"]:
    """A square over the whole short side, resized: the same as short-side resize and crop.

    Args:
        image: RGB.
        size: side of the result in pixels.
        place: where on the long side the square lies, 0..1: 0 left or top, .5 the centre.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = int((height - side) * place), int((width - side) * place)
    pixels = image[top : top + side, left : left + side]
    filter_ = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR  # area: no aliasing
    return cv2.resize(pixels, (size, size), interpolation=filter_)


def _channel_stats(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """ImageNet mean and std, each (C, 1, 1, 1)."""
    import torch

    stats = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], device=device)
    return stats[0].view(3, 1, 1, 1), stats[1].view(3, 1, 1, 1)
