"""From a decoded frame to upright RGB with square pixels: the one way, for every reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from av import VideoFrame

HDR_CURVES = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of high dynamic range, ITU-T H.273."""


def upright(
    frame: VideoFrame, aspect: float = 1.0, short_side: int | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """A decoded frame as a player shows it.

    Range and matrix coefficients are those that the frame names; one that names none is limited
    and BT.601, as FFmpeg takes it. Pixels that are not square are made so by the width. The display
    matrix turns and mirrors by quarter turns.

    Args:
        frame: as PyAV decodes it.
        aspect: of a pixel, width over height.
        short_side: shrinks the frame to this while it becomes RGB, which is several times as fast
            as afterwards; a smaller frame is left as it is.
    """
    height, width = displayed_size(frame.height, frame.width, aspect, short_side)
    if height <= frame.height and width <= frame.width:
        image = _rgb(frame, height, width)
    else:  # swscale's enlargement has ringing: enlarged by OpenCV, as `square` does
        image = cv2.resize(_rgb(frame, frame.height, frame.width), (width, height))
    return turn(image, display_matrix(frame))


def displayed_size(
    height: int, width: int, aspect: float, short_side: int | None
) -> tuple[int, int]:
    """Height and width with square pixels, shrunk until the shorter is `short_side`.

    What then lies beside the centre square is the same number of pixels on both sides: cut out, it
    is where it was.
    """
    exact = width * aspect
    if not short_side or min(height, exact) <= short_side:
        return height, max(1, round(exact))
    scale = short_side / min(height, exact)
    high, wide = (short_side + 2 * round((n * scale - short_side) / 2) for n in (height, exact))
    return high, wide


def _rgb(frame: VideoFrame, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    from av.video.reformatter import Interpolation

    whole = (height, width) == (frame.height, frame.width)
    exact = (
        Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
    )  # costs nothing when shrinking
    return frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_color_range=frame.color_range,
        interpolation=Interpolation.BILINEAR if whole else Interpolation.AREA | exact,
        threads=1,
    ).to_ndarray()


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """How the picture is turned: (a, b, c, d) with x' = ax + cy and y' = bx + dy, y downwards."""
    from av.sidedata.sidedata import Type

    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX:
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def turn(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turns and mirrors a picture by a display matrix, to the nearest quarter turn."""
    a, b, c, d = matrix
    quarter = abs(b) + abs(c) > abs(a) + abs(d)
    turned = image.swapaxes(0, 1) if quarter else image
    across, down = (c, b) if quarter else (a, d)
    turned = turned[:, ::-1] if across < 0 else turned
    return np.ascontiguousarray(turned[::-1] if down < 0 else turned)


def is_hdr(frame: VideoFrame) -> bool:
    """Whether a frame's brightness is meant for a display of high dynamic range."""
    return int(frame.color_trc) in HDR_CURVES
