"""Arrays as the browser takes them: sprite sheets, thumbnails, colour tables, and masks as text."""

from __future__ import annotations

import base64
import binascii
import math
import zlib

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from vjepa.errors import InputError

Frames = UInt8[np.ndarray, "t h w 3"]

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#7f7f7f")
"""Of lines and bars in charts: Okabe and Ito's, told apart by the colour-blind too."""
JPEG_QUALITY = 92
FILM_QUALITY = 85
THUMBNAIL = 96


def png_sheet(frames: Frames) -> bytes:
    """Frames below one another as a PNG: lossless, for the clip that all panels stand on."""
    return _encode(".png", _column(frames), [cv2.IMWRITE_PNG_COMPRESSION, 4])


def jpeg_sheet(frames: Frames) -> bytes:
    """Frames below one another as a JPEG with full colour resolution: small, for decoded pixels."""
    full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encode(".jpg", _column(frames), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *full_colour])


def film_sheet(frames: Frames) -> bytes:
    """Frames below one another as a WebP: smallest, for films that are no answer."""
    return _encode(".webp", _column(frames), [cv2.IMWRITE_WEBP_QUALITY, FILM_QUALITY])


def read_sheet(sheet: bytes, num_frames: int) -> Frames:
    """The frames of a sheet, RGB."""
    column = cv2.imdecode(np.frombuffer(sheet, np.uint8), cv2.IMREAD_COLOR_RGB)
    height, width, _ = column.shape
    return column.reshape(num_frames, height // num_frames, width, 3)


def thumbnail(frames: Frames) -> bytes:
    """The middle frame as a small JPEG."""
    size = (THUMBNAIL, THUMBNAIL)
    return _encode(".jpg", cv2.resize(frames[len(frames) // 2], size, interpolation=cv2.INTER_AREA))


def colour_table() -> bytes:
    """Cividis as 256 RGB triples, low to high: evenly brighter, safe for the colour-blind."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return cv2.cvtColor(cv2.applyColorMap(ramp, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB).tobytes()


def heat_sheet(values: Float[np.ndarray, "t h w"], high: float) -> bytes:
    """One number a pixel as a JPEG sheet: 0 to `high` in the colours of `colour_table`."""
    table = np.frombuffer(colour_table(), np.uint8).reshape(256, 3)
    return jpeg_sheet(table[(255 * (values / high).clip(0, 1)).astype(np.uint8)])


def _column(frames: Frames) -> np.ndarray:
    return frames.reshape(-1, *frames.shape[2:])


def _encode(suffix: str, image: np.ndarray, options: list[int] | None = None) -> bytes:
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options or [])
    return data.tobytes()


Mask = Bool[np.ndarray, "t h w"]
Grid = tuple[int, int, int]


def to_bits(mask: Mask) -> str:
    """One bit a token in (t, h, w) order, lowest bit first, as base64: what the painter speaks."""
    return base64.b64encode(_packed(mask)).decode()


def from_bits(bits: str, grid: Grid) -> Mask:
    """Inverse of `to_bits`.

    Raises:
        InputError: the text is no mask of this grid.
    """
    try:
        return _unpacked(base64.b64decode(bits, validate=True), grid)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _foreign(grid) from error


def to_link(mask: Mask) -> str:
    """A mask as a short word for a URL: its grid, a dot, its compressed bits."""
    word = base64.urlsafe_b64encode(zlib.compress(_packed(mask), 9)).decode().rstrip("=")
    return "x".join(map(str, mask.shape)) + "." + word


def from_link(word: str, grid: Grid) -> Mask:
    """Inverse of `to_link`.

    Raises:
        InputError: the word is damaged, or its mask belongs to another grid.
    """
    sides, _, bits = word.partition(".")
    if sides != "x".join(map(str, grid)):
        raise _foreign(grid)
    try:
        packed = base64.urlsafe_b64decode(bits + "=" * (-len(bits) % 4))
        inflater = zlib.decompressobj()
        return _unpacked(inflater.decompress(packed, math.prod(grid)), grid)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise InputError("The mask in this link is damaged: ask for the link again.") from error


def resized(mask: Mask, grid: Grid) -> Mask:
    """The mask on another grid: every token takes over from the one in its place."""
    for axis, size in enumerate(grid):
        places = (np.arange(size) + 0.5) * mask.shape[axis] / size
        mask = mask.take(places.astype(int), axis=axis)
    return mask


def _packed(mask: Mask) -> bytes:
    return np.packbits(mask.ravel(), bitorder="little").tobytes()


def _unpacked(packed: bytes, grid: Grid) -> Mask:
    count = math.prod(grid)
    if len(packed) != -(-count // 8):
        raise ValueError("wrong length")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder="little")
    return bits.astype(bool).reshape(grid)


def _foreign(grid: Grid) -> InputError:
    sides = " x ".join(map(str, grid))
    return InputError(f"This mask is for another grid than {sides}: draw it again on this clip.")
