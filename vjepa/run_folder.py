"""The folder of a training run: metrics as JSON lines, and one checkpoint to resume from."""

from __future__ import annotations

import json
import os
import pickle
import platform
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vjepa.errors import InputError


def write_recipe(folder: Path, config: Any) -> None:
    """Writes training.json beside a finished model: how it was made, and on what."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    recipe = {
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "hardware": gpu or f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "torch": torch.__version__,
    }
    (folder / "training.json").write_text(json.dumps(recipe, indent=1) + "\n")


class RunFolder:
    """Metrics and the last checkpoint of a run.

    Args:
        path: the folder; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.last = path / "last.pt"
        path.mkdir(parents=True, exist_ok=True)

    def begin(self, *, resume: bool) -> dict | None:
        """The state to go on from, or None for a fresh run.

        Raises:
            InputError: nothing to resume from, or a run that a fresh one would overwrite.
        """
        if not resume:
            if self.last.exists():
                raise InputError(
                    f"{self.path} holds a run already: add --resume to go on with it, "
                    "or choose another --out."
                )
            self.metrics.unlink(missing_ok=True)
            return None
        state = self._read()
        self._drop_metrics_after(state["step"])
        return state

    def log(self, metrics: dict[str, float]) -> None:
        """Appends one line of metrics, six digits each."""
        rounded = {name: float(f"{value:.6g}") for name, value in metrics.items()}
        with self.metrics.open("a") as file:
            file.write(json.dumps(rounded) + "\n")

    def save(self, state: dict) -> None:
        """Writes last.pt; an interrupted write leaves the one before."""
        partial = self.last.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.last)

    def _read(self) -> dict:
        if not self.last.is_file():
            raise InputError(f"{self.path} has no last.pt to resume from: start without --resume.")
        try:
            return torch.load(self.last, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise InputError(f"{self.last} is damaged: start again without --resume.") from error

    def _drop_metrics_after(self, step: int) -> None:
        with suppress(FileNotFoundError):
            lines = self.metrics.read_text().splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.metrics.write_text("".join(kept))
