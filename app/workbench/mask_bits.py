"""Masks as text: the painter's bits, and the short form that fits into a link."""

from __future__ import annotations

import base64
import binascii
import math
import zlib

import numpy as np
from jaxtyping import Bool

from vjepa.errors import InputError

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
