"""Clips in: frames from a video file or a still image, and their normalisation.

Everything up to `read_frames` works without torch, so that a page can show a clip before a model
(or torch itself) is loaded.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import UInt8

from vjepa.errors import InputError
from vjepa.reading.timing import Crop, Pick, ReadFrames, Wish

if TYPE_CHECKING:
    import torch

    from vjepa.config import ModelConfig

log = logging.getLogger(__name__)

BUNDLED = Path(__file__).resolve().parents[2] / "assets" / "clips"

#: Frames per second when the caller names none: every fourth frame of a 30 fps video, as V-JEPA
#: was trained, so 16 frames see about two seconds.
DEFAULT_FPS = 7.5

LATEST_START = 1e9
"""Seconds: no video is longer, and later stamps do not fit into a container's 64 bits."""

VIDEO_SUFFIXES = tuple(
    (
        ".3g2 .3gp .3gpp .264 .265 .266 .amv .apng .apv .asf .avc .avi .avs2 .avs3 .bik .bk2 .cavs "
        ".cdxl .cine .dav .dif .divx .dv .dvr-ms .evc .f4v .flc .fli .flm .flv .gif .gxf .h261 "
        ".h263 .h264 .h265 .h266 .h26l .hevc .ifv .imx .ipu .ism .ismv .ivf .ivr .kux .lvf .lxf "
        ".m1v .m2p .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mlv .mod .mods .moflex .mov "
        ".mp4 .mpe .mpeg .mpg .mpv .mts .mvi .mxf .mxg .nsv .nut .nuv .obu .ogg .ogm .ogv .pdv "
        ".psp .qt .r3d .rcv .rm .rmvb .roq .ser .smk .swf .tod .ts .ty .usm .vc1 .viv .vob .vvc "
        ".webm .wmv .wtv .xmv .y4m .yop"
    ).split()
)
"""What FFmpeg's demuxers claim for video, but for endings that other files have too (.dat, .txt),
and raw pixels, which say nothing of their size."""
BESIDE = (".csv", ".tsv", ".txt", ".json", ".md")
"""What may lie beside videos: lists, and what is said of them."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def bundled_clips() -> dict[str, Path]:
    """The clips that ship with the project, drawn ones too: name -> path, in order of name."""
    return {path.stem: path for path in sorted(BUNDLED.glob("*.mp4"))}


UNTRAINED = ("bigbuckbunny", "cup_tilt_zoom")
"""Real clips that no bundled model is trained on: they test it."""
TRAINED = ("cockatoo",)


def training_clips() -> list[Path]:
    """The real clips that ship with the project and may be trained on."""
    return [path for name, path in bundled_clips().items() if name in TRAINED]


def is_video(path: Path) -> bool:
    """Whether a path is called like a video, and is not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def find_videos(folder: Path) -> list[Path]:
    """All videos below a folder, in order of path.

    Raises:
        InputError: there is none.
    """
    files = sorted(folder.rglob("*"))
    found = list(filter(is_video, files))
    if not found:
        raise InputError(f"{folder} holds no video: put mp4, webm, mkv, avi or others there.")
    warn_of_others(folder, files)
    return found


def warn_of_others(folder: Path, files: Iterable[Path]) -> None:
    """Says how many files of a folder are passed over, because they are not called like videos."""
    others = Counter(
        path.suffix.lower() or "no suffix"
        for path in files
        if not (is_video(path) or path.name.startswith(".") or path.suffix.lower() in BESIDE)
        and is_file(path)
    )
    if others:
        kinds = ", ".join(f"{suffix} ({n})" for suffix, n in others.most_common(5))
        log.warning(
            "%s: %d files are passed over, which are not called like videos: %s",
            folder,
            others.total(),
            kinds,
        )


def read_frames(
    path: str | Path,
    image_size: int,
    num_frames: int,
    start: float = 0.0,
    fps: float | None = None,
) -> UInt8[np.ndarray, "t s s 3"]:
    """Read a square clip from a video, or repeat a still image.

    Frames are equally spaced: the step is the whole number of source frames nearest to the wanted
    rate, because an uneven step would make smooth motion judder. Where the source's own rate is
    uneven, the frames nearest in time are taken, and a warning says so. A video too short for that
    step gets a smaller one, so that the clip has `num_frames` different frames wherever the video
    has as many left after `start`; below that, neighbouring frames repeat.

    The short side is resized to `image_size` and the centre kept. (The official evaluation resizes
    to 256/224 of that and so cuts off a further eighth; here nothing of the short side is lost.)

    Args:
        path: path of a video or of an image file.
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
    clip = read_with_notes(path, image_size, num_frames, start, fps)
    for note in clip.notes:
        log.warning("%s: %s", path, note)
    return clip.frames


def read_with_notes(
    path: str | Path,
    image_size: int,
    num_frames: int,
    start: float = 0.0,
    fps: float | None = None,
) -> ReadFrames:
    """The same as `read_frames`, with what a viewer should know of the clip, in sentences.

    That its rate is uneven; that it is HDR, shown without tone mapping; that its file is cut off.
    """
    _check_numbers(image_size, num_frames, start, fps)
    wish = Wish(
        start, fps or DEFAULT_FPS, num_frames, image_size, lambda im: square(im, image_size)
    )
    return read_wish(path, wish)


READERS = ("packed", "stills", "reader")
"""Modules of `vjepa.reading` that a file is offered to in turn; the last one reads any video. Each
has `read(path, wish)` and `timing(path)`, which answer None for what is not theirs."""


def read_wish(path: str | Path, wish: Wish) -> ReadFrames:
    """The same for frames that are cropped otherwise, from their own size where it is wished.

    Raises:
        InputError: as of `read_frames`.
    """
    path = existing_file(path)
    return next(clip for reader in READERS if (clip := _module(reader).read(path, wish)))


def _module(reader: str) -> ModuleType:
    return import_module(f"vjepa.reading.{reader}")


def read_picked(path: Path, pick: Pick, crop: Crop, short_side: int | None) -> ReadFrames:
    """Reads frames from anywhere in a video, or in a picture that moves, in one forward pass.

    Args:
        path: of the file.
        pick: chooses frames when it is known when each is shown.
        crop: what is made of each upright RGB frame; each is decoded and cropped once.
        short_side: to which frames are shrunk before; None: they are not.

    Raises:
        InputError: it is no video, or its frames cannot be decoded.
    """
    packed = _module("packed").read_picked(path, pick, crop)
    return packed or _module("whole").read_picked(path, pick, crop, short_side)


@lru_cache(maxsize=65536)
def _timing(path: Path, changed: int, size: int) -> tuple[float, float]:
    asked = (_module(reader).timing(path) for reader in READERS)
    return next(answer for answer in asked if answer is not None)


def timing(path: str | Path) -> tuple[float, float]:
    """How long a video is shown, in seconds (a picture that stands: 0), and its frames a second.

    By the container's word where it gives one, else by its packets. Asked again it is remembered,
    for as long as the file stays what it was.

    Raises:
        InputError: as of `read_frames`.
    """
    path = existing_file(path)
    state = path.stat()
    return _timing(path, state.st_mtime_ns, state.st_size)


def duration(path: str | Path) -> float:
    """How long a video is shown, in seconds, as `timing` says it."""
    return timing(path)[0]


def read_clip(
    path: str | Path, config: ModelConfig, start: float = 0.0, fps: float | None = None
) -> torch.Tensor:
    """Read a clip as the model wants it: float32 (C, T, H, W), ImageNet-normalised.

    Sizes come from `config`; everything else is as in `read_frames`.
    """
    return normalize(read_frames(path, config.image_size, config.num_frames, start, fps))


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
    if side == size:
        return np.ascontiguousarray(pixels)
    filter_ = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR  # area: no aliasing
    return cv2.resize(pixels, (size, size), interpolation=filter_)


def _check_numbers(image_size: int, num_frames: int, start: float, fps: float | None) -> None:
    if image_size < 1 or num_frames < 1:
        raise InputError(f"A clip of {num_frames} frames at {image_size} px cannot be read.")
    if not 0 <= start <= LATEST_START:  # nor NaN
        raise InputError(f"Start must be 0 to {LATEST_START:.0e} seconds, not {start}.")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"Frames per second must be a positive number, not {fps}.")


def existing_file(path: str | Path) -> Path:
    """The path of a file that is there and not empty; else an InputError."""
    path = Path(path)
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


def _channel_stats(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """ImageNet mean and std, each (C, 1, 1, 1)."""
    import torch

    stats = torch.tensor([IMAGENET_MEAN, IMAGENET_STD])
    stats = stats.to(device, non_blocking=True)  # made on a GPU, they would wait for it
    return stats[0].view(3, 1, 1, 1), stats[1].view(3, 1, 1, 1)
