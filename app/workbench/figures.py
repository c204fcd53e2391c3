"""Pictures from arrays: sprite sheets, thumbnails, colour tables. Data in, picture out."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Frames = UInt8[np.ndarray, "t h w 3"]

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#7f7f7f")
"""Of lines and bars in charts: Okabe and Ito's, told apart by the colour-blind too."""
JPEG_QUALITY = 92
THUMBNAIL = 96


def png_sheet(frames: Frames) -> bytes:
    """Frames below one another as a PNG: lossless, for the clip that all panels stand on."""
    return _encode(".png", _column(frames), [cv2.IMWRITE_PNG_COMPRESSION, 4])


def jpeg_sheet(frames: Frames) -> bytes:
    """Frames below one another as a JPEG with full colour resolution: small, for decoded pixels."""
    full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encode(".jpg", _column(frames), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *full_colour])


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
