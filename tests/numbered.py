"""Videos that tell which of their frames is shown."""

import numpy as np

BITS = 8


def numbered_frames(count: int, size: int = 64) -> np.ndarray:
    """Frame i shows the number i as a row of black and white bars."""
    bits = np.arange(count)[:, None] >> np.arange(BITS) & 1
    row = np.repeat(bits * 255, size // BITS, axis=1).astype(np.uint8)
    return np.broadcast_to(row[:, None, :, None], (count, size, size, 3)).copy()


def numbers_shown(frames: np.ndarray) -> list[int]:
    """The numbers that `numbered_frames` drew."""
    cells = frames.reshape(len(frames), frames.shape[1], BITS, -1, 3).mean((1, 3, 4))
    return ((cells > 127) << np.arange(BITS)).sum(1).tolist()
