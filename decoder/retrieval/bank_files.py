"""A bank's features on disk: one file a clip, so that a large model encodes each clip once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jaxtyping import Float16, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vjepa.checkpoint import fingerprint
from vjepa.errors import InputError
from vjepa.model import VJEPA


class FeatureFiles:
    """The features of one model, each clip's in a file that is called by what the clip shows.

    Pixels are not kept: whoever asks for a clip's features has them. Clips may be added, left out
    or asked for in another order; only those that are new are encoded.

    Args:
        folder: of the files; made when it is missing.
        model: its fingerprint is written into every file.
    """

    def __init__(self, folder: Path, model: VJEPA) -> None:
        self.folder, self.fingerprint = Path(folder), fingerprint(model)
        self.shape = (model.config.num_tokens, model.config.output_dim)
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, clip: UInt8[Tensor, "T H W 3"]) -> Float16[Tensor, "N O"] | None:
        """The clip's features, or None when they are not there.

        Raises:
            InputError: they are another model's, or the file is damaged.
        """
        path = self._path(clip)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                owner, features = file.metadata().get("fingerprint"), file.get_tensor("features")
        except (SafetensorError, OSError, AttributeError) as error:
            raise InputError(f"{path} is damaged: delete it to have it made again.") from error
        if owner != self.fingerprint or tuple(features.shape) != self.shape:
            raise InputError(
                f"The bank in {self.folder} is another model's ({owner}, not {self.fingerprint}): "
                "choose another folder."
            )
        return features

    def write(self, clip: UInt8[Tensor, "T H W 3"], features: Float16[Tensor, "N O"]) -> None:
        """Keeps a clip's features; an interrupted write leaves no file."""
        path = self._path(clip)
        partial = path.with_suffix(".partial")
        tensors = {"features": features.contiguous().cpu()}
        save_file(tensors, partial, {"fingerprint": self.fingerprint})
        partial.rename(path)

    def _path(self, clip: Tensor) -> Path:
        digest = hashlib.sha256(str(tuple(clip.shape)).encode())
        digest.update(clip.cpu().contiguous().numpy())
        return self.folder / f"{digest.hexdigest()[:24]}.safetensors"
