"""A mask as the command line takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from vjepa import masks
from vjepa.errors import InputError


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
