"""The folder of a run: settings, metrics, checkpoints; and how a run is ended from outside.

A checkpoint holds the settings that it was made with. A run goes on with the same, or with changes
that are named, and they are recorded.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed

from vjepa.errors import InputError, StoppedError
from vjepa.storage import refusal, replacing, require_checksums, require_writable

log = logging.getLogger(__name__)

FREE = {
    *("out", "resume", "change", "save_every", "keep_every", "log_every"),
    *("workers", "micro_batch", "gradient_checkpointing", "compile", "cache"),
}
"""Settings that say how a run is carried out, not what is learned: they may change unasked."""


class RunFolder:
    """Settings, metrics and checkpoints of a run; only the first process writes.

    Args:
        path: the folder.
        settings: of the run, as plain JSON values.
        main: whether this is the first process.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, main: bool = True) -> None:
        self.path, self.settings, self.main = path, settings, main
        self.metrics = path / "metrics.jsonl"
        self.last = path / "last.pt"
        self.changes: list[dict] = []

    def begin(self, *, resume: bool, change: Sequence[str] = ()) -> dict | None:
        """The state to go on from, or None for a fresh run.

        Args:
            resume: whether to go on.
            change: settings that may differ from those that the run began with.

        Raises:
            InputError: nothing to resume from, other settings, a damaged checkpoint, a run that a
                fresh one would overwrite, or a folder that cannot be written.
        """
        state = self._read() if resume else self._require_none()
        if state:
            self._compare(state, change)
        if self.main:
            require_writable(self.path)
            self._mend_metrics(state["step"] if state else 0)
        return state

    def log(self, metrics: dict[str, float]) -> None:
        """Appends one line of metrics, six digits each.

        Raises:
            InputError: the disk is full, or refuses.
        """
        rounded = {name: float(f"{value:.6g}") for name, value in metrics.items()}
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rounded) + "\n")
        except OSError as error:
            raise refusal(self.metrics, error) from error

    def save(self, state: dict, *, keep: bool = False) -> None:
        """Writes last.pt, the settings with it; an interrupted write leaves the one before.

        Args:
            state: of the run.
            keep: a copy stays in `snapshots`.

        Raises:
            InputError: the disk is full, or refuses.
        """
        with replacing(self.last) as partial:
            torch.save(state | {"config": self.settings, "changes": self.changes}, partial)
        if keep:
            snapshot = self.path / "snapshots" / f"step-{state['step']:07d}.pt"
            require_writable(snapshot.parent)
            with replacing(snapshot) as partial:
                shutil.copyfile(self.last, partial)

    def _require_none(self) -> None:
        if self.last.exists():
            raise InputError(
                f"{self.path} holds a run already: add --resume to go on with it, "
                "or choose another --out."
            )

    def _read(self) -> dict:
        if not self.last.is_file():
            raise InputError(f"{self.path} has no last.pt to resume from: start without --resume.")
        try:
            require_checksums(self.last)
            return torch.load(self.last, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises what it likes
            raise InputError(self._damaged()) from error

    def _damaged(self) -> str:
        kept = sorted((self.path / "snapshots").glob("step-*.pt"))
        copy = f"copy {kept[-1]} to its place" if kept else "start again without --resume"
        return f"{self.last} is damaged: delete it, and {copy}."

    def _compare(self, state: dict, change: Sequence[str]) -> None:
        """Refuses settings that changed, but for those that are named, which are noted."""
        before = state.get("config")
        if before is None:
            log.warning("%s names no settings: they are not compared.", self.last)
            return
        self.changes = list(state.get("changes", ()))
        for name, value in self.settings.items():
            if name in FREE or name not in before or before[name] == value:
                continue
            if name not in change:
                raise InputError(
                    f"{name} was {before[name]!r} when this run was saved and is {value!r} now: "
                    f"give it as it was, or add --change {name}."
                )
            note = {"step": state["step"], "name": name, "from": before[name], "to": value}
            self.changes.append(note)

    def _mend_metrics(self, step: int) -> None:
        """Drops lines after the step that is gone on from, and one that was torn."""
        with suppress(FileNotFoundError):
            kept = []
            for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
            with replacing(self.metrics) as partial:
                partial.write_text("".join(kept), encoding="utf-8")


class StopSign:
    """Ctrl-C or SIGTERM: asked once, a run ends its step and saves; asked twice, it ends at once.

    Several processes agree on the step: whichever was asked, all stop after the same one. They
    meet on the host, so that no GPU waits.

    Args:
        processes: of the run.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, processes: int = 1) -> None:
        self.asked = 0
        self.group = distributed.new_group(backend="gloo") if processes > 1 else None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopSign:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def agreed(self) -> bool:
        """Whether any process was asked; every process must call it equally often."""
        if self.group is not None:
            asked = torch.tensor(self.asked)
            distributed.all_reduce(asked, op=distributed.ReduceOp.MAX, group=self.group)
            self.asked = int(asked)
        return bool(self.asked)

    def stop(self, step: int) -> None:
        """Ends the run.

        Raises:
            StoppedError: always.
        """
        raise StoppedError(
            f"stopped after step {step}, which is saved: go on with --resume", 128 + self.asked
        )
