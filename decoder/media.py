"""Frames out: H.264 mp4 for browsers and players, GIF for everything else."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Generator, Tensor

from vjepa import masks
from vjepa.errors import InputError

Frames = UInt8[np.ndarray, "t h w 3"]


def write_mp4(path: str | Path, frames: Frames, fps: float) -> None:
    """Write frames as H.264 (yuv420p, which every browser plays).

    An odd height or width, which that format cannot hold, gains one repeated row or column.

    Args:
        path: file to write; an existing one is replaced.
        frames: RGB 0..255, (T, H, W, 3).
        fps: frames per second.

    Raises:
        InputError: no frames, or a rate that is not positive.
    """
    Path(path).write_bytes(mp4_bytes(frames, fps))


def write_gif(path: str | Path, frames: Frames, fps: float) -> None:
    """Write frames as a GIF that loops for ever; arguments and errors as for `write_mp4`."""
    Path(path).write_bytes(gif_bytes(frames, fps))


def write_frames(path: str | Path, frames: Frames, fps: float) -> None:
    """Write frames as what the file's ending says, .mp4 or .gif; for the rest see `write_mp4`.

    Raises:
        InputError: as there, and another ending.
    """
    writer_of(path)(path, frames, fps)


def writer_of(path: str | Path) -> Callable[[Path, Frames, float], None]:
    """What writes frames to a file with such an ending.

    Raises:
        InputError: there is nothing for it.
    """
    writers = {".mp4": write_mp4, ".gif": write_gif}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise InputError(f"{path} must end in .mp4 or .gif.")
    return writers[suffix]


def mp4_bytes(frames: Frames, fps: float) -> bytes:
    """The file that `write_mp4` writes, in memory."""
    _check(frames, fps)
    buffer = io.BytesIO()
    _encode_h264(buffer, _pad_to_even(frames), fps)
    return buffer.getvalue()


def gif_bytes(frames: Frames, fps: float) -> bytes:
    """The file that `write_gif` writes, in memory.

    A GIF counts time in hundredths of a second, so 7.5 fps becomes 130 ms a frame. All frames share
    one palette: a palette of its own for each would make still regions flicker.
    """
    _check(frames, fps)
    sheet = Image.fromarray(frames.reshape(-1, frames.shape[2], 3))
    palette = sheet.quantize(256, dither=Image.Dither.NONE)
    images = [Image.fromarray(f).quantize(palette=palette) for f in frames]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=max(20, round(100 / fps) * 10),
        loop=0,
    )
    return buffer.getvalue()


def webp_bytes(frames: Frames, fps: float) -> bytes:
    """Frames as an animated WebP that loops for ever, lossless; arguments as for `write_mp4`."""
    _check(frames, fps)
    first, *rest = map(Image.fromarray, frames)
    buffer = io.BytesIO()
    look = {"save_all": True, "append_images": rest, "duration": round(1000 / fps), "loop": 0}
    first.save(buffer, format="WEBP", lossless=True, **look)
    return buffer.getvalue()


def strip_bytes(frames: Frames) -> bytes:
    """All frames side by side as a PNG, from left to right.

    Raises:
        InputError: no frames.
    """
    _check(frames, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(buffer, format="PNG")
    return buffer.getvalue()


def _encode_h264(file: io.BytesIO, frames: Frames, fps: float) -> None:
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_rate(fps), options={"crf": "17"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)


def _pad_to_even(frames: Frames) -> UInt8[np.ndarray, "t even_h even_w 3"]:
    odd_rows, odd_columns = frames.shape[1] % 2, frames.shape[2] % 2
    return np.pad(frames, ((0, 0), (0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")


def _check(frames: Frames, fps: float) -> None:
    if len(frames) == 0:
        raise InputError("There are no frames to write.")
    if not 0 < fps < float("inf"):
        raise InputError(f"Frames per second must be a positive number, not {fps}.")


def read_mask(mask: str, grid: masks.Grid) -> Bool[Tensor, "*grid"]:
    """A mask by the name of a preset, or from a .npy file; its shape is checked where it is used.

    Raises:
        InputError: no preset has that name, or the file is none of bools.
    """
    if Path(mask).suffix != ".npy":
        return masks.make(mask, grid, Generator().manual_seed(0))
    try:
        return torch.from_numpy(np.load(mask, allow_pickle=False).astype(bool))
    except (OSError, ValueError) as error:
        raise InputError(f"{mask} is no readable .npy file of bools: {error}.") from error
