"""Bad inputs by the hundred, sent to a server as visitors would: one sentence each, and no more.

`python benchmarks/bad_inputs.py` sends 300, a test sends some of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

import hostile
import numpy as np
import psutil
import torch
from tiny import TINY
from visitor import ConnectionClosed, Visitor

from app.workbench.housekeeping import EVERY, HAND_BACK
from app.workbench.rooms import REST
from vjepa import checkpoint
from vjepa.model import VJEPA

ALL = {"file": 135, "link": 60, "stroke": 45, "checkpoint": 60}
"""What is sent, and how much of it."""
PATIENCE = 60.0
LONGEST = 600
"""Characters of a sentence."""
APOLOGY = "Something went wrong"
GUESTS = 24
"""Visitors who send good input first, and leave: what they make the server import it keeps, and of
what it shows them as much as it may; later ones find it so."""
BREATHING = REST + EVERY + HAND_BACK + 2
"""Seconds after which the server has forgotten what visitors left, and handed its memory back."""


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        sent: how many inputs of each kind.
        told: of how many a sentence said what is wrong; the others meant something after all.
        faults: what should not have happened.
        before, after: MB of the server, each after a good file was shown.
        ran: whether code from a checkpoint ran.
    """

    sent: Counter = field(default_factory=Counter)
    told: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    before: float = 0.0
    after: float = 0.0
    ran: bool = False

    @property
    def growth(self) -> float:
        """Of the memory."""
        return self.after / self.before - 1


class Siege:
    """Visitors who send nothing good.

    Args:
        address: of a server that opens paths.
        process: the server.
        folder: for what is made.
        seed: of what is drawn.
    """

    def __init__(self, address: str, process: psutil.Process, folder: Path, seed: int = 0) -> None:
        self.address, self.process, self.folder = address, process, folder
        self.random, self.outcome = np.random.default_rng(seed), Outcome()
        for name in ("files", "models"):
            (folder / name).mkdir()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            checkpoint.save(VJEPA(TINY), folder / "small", torch.float32)
        self.good = hostile.good_files(folder / "files")

    def lay(self, count: int) -> Outcome:
        """Sends so many of all, and a good file before and after."""
        inputs = list(self.inputs())
        chosen = self.random.permutation(len(inputs))[:count]
        with Visitor(self.address, "clip=world-1") as self.sender:
            self.warm_up()
            self.outcome.before = self.megabytes()
            for index in chosen:
                self.send(*inputs[index])
            self.outcome.after = self.megabytes()
        self.outcome.ran = (self.folder / "models" / "ran").exists()
        return self.outcome

    def warm_up(self) -> None:
        """Good files, strokes and a model bring the server to the size that use gives it."""
        for one in self.good.items():
            self.file(one)
        self.checkpoint(str(self.folder / "small"))
        for number in range(GUESTS):
            self.stroke(("painter", "{}"))
            with Visitor(self.address, f"clip=world-{number}") as guest:
                guest.wait_for_answer()
                self.show_good_file(guest)

    def inputs(self) -> Iterator[tuple[str, object]]:
        """Kinds and inputs."""
        made = {
            "file": hostile.bad_files(self.good, self.random),
            "link": hostile.bad_links(self.random),
            "stroke": hostile.bad_strokes("bundled-cup_tilt_zoom", 0, self.random),
            "checkpoint": hostile.bad_checkpoints(
                self.folder / "small", self.folder / "models", self.random
            ),
        }
        for kind, number in ALL.items():
            for one in islice(made[kind], number):
                yield kind, one

    def send(self, kind: str, what: object) -> None:
        """Sends one, and notes what the server makes of it."""
        self.outcome.sent[kind] += 1
        try:
            said = getattr(self, kind)(what)
        except (TimeoutError, ConnectionClosed, OSError) as error:
            self.fault(kind, what, f"{type(error).__name__}: {error}")
            return
        self.outcome.told[kind] += bool(said)
        if len(said) > 1:
            self.fault(kind, what, f"{len(said)} sentences: {said}")
        for sentence in said:
            if APOLOGY in sentence or "\n" in sentence or len(sentence) > LONGEST:
                self.fault(kind, what, sentence)

    def said_by(self, visitor: Visitor) -> set[str]:
        """What the page said is wrong; each sentence once.

        Raises:
            OSError: it showed an exception.
        """
        if visitor.exceptions:
            raise OSError(f"An exception was shown: {visitor.exceptions}")
        return set(visitor.warnings)

    def fault(self, kind: str, what: object, why: str) -> None:
        """Notes what should not have happened."""
        self.outcome.faults.append(f"{kind} {str(what)[:90]!r}: {why[:400]}")

    # ---- what is sent; each gives the sentences that the page said

    def file(self, what: tuple[str, bytes]) -> set[str]:
        """An upload: refused, or shown as far as it can be read."""
        here = self.sender
        here.warnings.clear()
        before = here.finished
        if here.upload(*what) >= 300:
            return {"The server took no such file."}
        here.run()
        here.listen(
            lambda: (
                here.finished > before
                and is_settled(here)
                and (here.warnings or clip_of(here).startswith("upload"))
            ),
            PATIENCE,
        )
        return self.said_by(here)

    def link(self, what: str) -> set[str]:
        """A visitor who comes by a link: he sees the page."""
        with Visitor(self.address, what) as one:
            one.listen(lambda: is_settled(one), PATIENCE)
            return self.said_by(one)

    def stroke(self, what: tuple[str, str]) -> set[str]:
        """What no component of ours sends."""
        name, text = what
        with Visitor(self.address, "", "similarity") as one:
            one.listen(lambda: is_settled(one), PATIENCE)
            before = one.finished
            one.tell(name, text)
            one.listen(lambda: one.finished > before and is_settled(one), PATIENCE)
            return self.said_by(one)

    def checkpoint(self, what: str) -> set[str]:
        """A path that is no model's; where it is one after all, it is opened."""
        return self.link(urlencode({"model": what}))

    def show_good_file(self, here: Visitor) -> None:
        """A visitor's upload is shown, and he paints on it."""
        before = here.finished
        here.warnings.clear()
        here.upload("good.mp4", self.good["good.mp4"])
        here.run()
        here.listen(lambda: here.finished > before and clip_of(here).startswith("upload"), PATIENCE)
        here.wait_for_answer(here.paint(~here.mask()))

    def megabytes(self) -> float:
        """Of the server, once a good file is shown and all that was left is swept up."""
        here = self.sender
        here.wait_for_answer()
        self.show_good_file(here)
        swept = time.monotonic() + BREATHING
        here.listen(lambda: time.monotonic() > swept)
        return self.process.memory_info().rss / 1e6


def clip_of(visitor: Visitor) -> str:
    """Which clip his painter shows."""
    return visitor.pieces["painter"].note["clip"]["id"] if is_shown(visitor) else ""


def is_settled(visitor: Visitor) -> bool:
    """Whether nothing goes on on his page, and there is one."""
    still = visitor.finished > 0 and not visitor.running and not visitor.timers
    return still and is_shown(visitor)


def is_shown(visitor: Visitor) -> bool:
    """Whether there is a page to paint on."""
    return "painter" in visitor.pieces
