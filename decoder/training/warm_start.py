"""Beginning with the weights of another decoder.

Most of a decoder knows how pixels go together, whatever model it belongs to. What reads a model's
features has their width, and is learned anew where that differs.
"""

from __future__ import annotations

import logging
from pathlib import Path

from decoder.network import TokenDecoder
from vjepa.errors import InputError

log = logging.getLogger(__name__)


def take_over(network: TokenDecoder, folder: Path) -> None:
    """Copies what has the same name and shape from the decoder in a folder.

    Raises:
        InputError: there is no decoder, or nothing of it fits.
    """
    try:
        found = TokenDecoder.from_pretrained(folder / "network").state_dict()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no decoder to begin with: {error}") from error
    fresh = network.state_dict()
    fits = {name: t for name, t in found.items() if name in fresh and t.shape == fresh[name].shape}
    if not fits:
        raise InputError(f"Nothing of the decoder in {folder} fits one of this size.")
    network.load_state_dict(fits, strict=False)
    anew = sorted(fresh.keys() - fits.keys())
    log.warning("Taken over from %s; learned anew: %s.", folder, ", ".join(anew) or "nothing")
