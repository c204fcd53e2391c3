"""Does the server live through an afternoon? Visitors who do all there is to do, for hours.

    python benchmarks/soak.py --minutes 120 --visitors 5

A fresh `app.serve` with a second model to change to. Every visitor thinks for some seconds, then
paints, picks another clip, uploads a good file or a bad one, goes to another page, changes the
model, or comes anew by a link, which may be a wrong one. Every five minutes, and at the end, a line
of JSON: what was done and answered, what went wrong on the pages and in the log, and the memory of
the server and of the processes that decode uploads, all told and over time.
"""

import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
import torch
import tyro
from serve import ROOT, drawn  # beside this file; it opens the way to tests and packages
from websockets.exceptions import ConnectionClosed

sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402
import hostile  # noqa: E402
from painted import encode, painted  # noqa: E402
from tiny import TINY  # noqa: E402
from visitor import Visitor  # noqa: E402

from app.workbench.models import DEMO  # noqa: E402

EVERY = 300.0
"""Seconds between two reports."""
GLANCE = 15.0
"""Seconds between two looks at the memory."""
PATIENCE = 240.0
"""Seconds after which what is not answered counts as wrong."""
FIRST = 1200.0
"""The same for the first page: the server is starting then, on a machine that may be busy."""
DECODING = ""
"""The page "Mask and decode": it has no name."""
EVALUATION = "evaluation"
"""The page without a clip."""
PAGES = (DECODING, DECODING, "embeddings", "similarity", "surprise", "probes", EVALUATION)
SMALL = "small"
"""The other model: the server's own, without a decoder."""
MISHAPS = ("Reference ", "Traceback", "ERROR", "failed")
"""What the log has no place for."""
NO_ANSWER = ":material/error:"
"""How a sentence begins that stands where an answer would: a mask that hides nothing, say."""
APOLOGY = "Something went wrong"
WRONG_LINKS = (
    {"fps": "61"},
    {"start": "1e9"},
    {"model": "/etc/passwd"},
    {"model": "demo", "frames": "4096"},
    {"clip": "upload-0123456789ab"},
    {"mask": "8x7x7.AAAA", "select": "none"},
)


@dataclass
class Diary:
    """What happened to one visitor.

    Attributes:
        did: how often what was done.
        waits: seconds from a stroke to its decoded samples.
        pictures: samples that came.
        refused: bad files of which the page said so, in a sentence.
        wrong: what went wrong.
    """

    did: Counter = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    pictures: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class Regular:
    """A visitor who stays the whole time, and tries everything.

    Args:
        address: of the server.
        number: of the visitor.
        files: a folder for what he uploads.
        diary: where he writes.
    """

    def __init__(self, address: str, number: int, files: Path, diary: Diary) -> None:
        self.address, self.number, self.diary = address, number, diary
        self.random = np.random.default_rng(number + 1)
        self.folder = files / str(number)
        self.folder.mkdir()
        good = hostile.good_files(self.folder)
        self.bad = hostile.bad_files(good, self.random)
        self.here = Visitor(address, self.link())

    def stay(self, until: float, think: tuple[float, float]) -> None:
        """Acts and thinks, on and on."""
        actions, often = zip(*ACTIONS, strict=True)
        share = np.array(often) / sum(often)
        self.settle(0, FIRST)
        while time.monotonic() < until:
            action = actions[self.random.choice(len(actions), p=share)]
            if self.here.page == EVALUATION:  # nothing else is to be done there
                action = Regular.turn_page
            try:
                action(self)
                self.diary.did[action.__name__] += 1
                self.look_back(action.__name__)
                self.think(*think)
            except (TimeoutError, ConnectionClosed, OSError, KeyError) as error:
                self.diary.wrong.append(f"{action.__name__}: {type(error).__name__} {error}"[:300])
                self.come_back()
        self.here.leave()

    def think(self, least: float, most: float) -> None:
        """Does nothing, as a browser does it: its timers run, and it takes in what comes."""
        end = time.monotonic() + self.random.uniform(least, most)
        self.here.listen(lambda: time.monotonic() > end)

    def look_back(self, action: str) -> None:
        """Notes what the page said that it should not have."""
        said = [text for text in self.here.texts if APOLOGY in text] + self.here.exceptions
        self.diary.wrong += [f"{action} on {self.here.page or 'decoding'}: {text}" for text in said]
        self.here.texts.clear()
        self.here.exceptions.clear()

    # ---- what he does

    def paint(self) -> None:
        """A stroke; where masks are decoded, until the samples are here."""
        before, begin = self.here.finished, time.monotonic()
        bits = self.here.paint(drawn(self.here.grid, self.random))
        if self.here.page == DECODING:
            sheets = self.here.wait_for_answer(bits, PATIENCE)
            self.diary.waits.append(time.monotonic() - begin)
            self.diary.pictures += sum(map(bool, sheets[:4]))
        else:
            self.settle(before)

    def pick(self) -> None:
        """Another clip of the row."""
        before = self.here.finished
        self.here.pick(str(self.random.choice(("world", "cup_tilt_zoom"))))
        self.settle(before)

    def upload(self) -> None:
        """A video of his own, until it plays."""
        before, number = self.here.finished, self.diary.did["upload"]
        shade = self.random.integers(0, 100, dtype=np.uint8)
        frames = painted(40, 96, 128) // 2 + shade
        suffix, kind = (("mp4", "h264"), ("webm", "vp8"), ("mkv", "ffv1"))[number % 3]
        path = encode(self.folder / f"mine{number}.{suffix}", frames, kind)
        self.send(path.name, path.read_bytes())
        path.unlink()
        self.here.listen(lambda: self.clip.startswith("upload"), PATIENCE)
        self.settle(before)

    def upload_badly(self) -> None:
        """A file that is none, until the page says so, or shows what can be read of it."""
        before, clip = self.here.finished, self.clip
        name, data = next(self.bad)
        self.here.texts.clear()
        self.send(name, data)
        stem = Path(name).stem[:20]
        self.here.listen(
            lambda: self.clip != clip or any(stem in text for text in self.here.texts), PATIENCE
        )
        self.diary.refused += self.clip == clip
        self.settle(before)

    def turn_page(self) -> None:
        """To another page, or the same anew."""
        before = self.here.finished
        self.here.go(str(self.random.choice(PAGES)))
        self.settle(before)

    def change_model(self) -> None:
        """To the other model, until it is here."""
        title = DEMO.address.title if self.other else SMALL
        before = self.here.finished
        self.here.choose("model", title)
        self.here.listen(lambda: self.other == (title == SMALL), PATIENCE)
        self.settle(before)

    def come_back(self) -> None:
        """Closes the window and opens another one."""
        self.here.leave()
        page = str(self.random.choice(PAGES))
        self.here = Visitor(self.address, self.link(), page)
        self.settle(0)

    # ---- how he does it

    @property
    def clip(self) -> str:
        """Which clip the painter shows."""
        painter = self.here.pieces.get("painter")
        return painter.note["clip"]["id"] if painter else ""

    @property
    def other(self) -> bool:
        """Whether another model than the demo looks at it."""
        return "~" in self.clip

    def link(self) -> str:
        """By which he comes: most name the demo model, some a number of frames, some are wrong."""
        query = {"model": "demo", "clip": f"world-{self.random.integers(1000)}"}
        dice = self.random.random()
        if dice < 0.15:
            del query["model"]  # the server's own
        elif dice < 0.3:
            query["frames"] = "8"
        elif dice < 0.5:
            query |= WRONG_LINKS[self.random.integers(len(WRONG_LINKS))]
        return urlencode(query)

    def send(self, name: str, data: bytes) -> None:
        """Sends a file, and has the page take it."""
        if self.here.upload(name, data) >= 300:
            raise OSError(f"{name} was refused.")
        self.here.run()

    def settle(self, before: int, patience: float = PATIENCE) -> None:
        """Until the page has run since and, where masks are decoded, shows what it is to show."""
        self.here.listen(lambda: self.here.finished > before and self.is_settled(), patience)

    def is_settled(self) -> bool:
        """Whether the page shows all that it is to show: an answer, or why there is none."""
        if self.here.page == EVALUATION:
            return True
        if self.here.page != DECODING:
            return bool(self.clip)
        panels = self.here.pieces.get("panels")
        if panels is None or panels.note["waiting"] or panels.note["clip"]["id"] != self.clip:
            return False
        told = any(text.startswith(NO_ANSWER) for text in self.here.texts)
        return told or (len(panels.blobs) > 1 and len(panels.blobs[1]) > 0)


ACTIONS: tuple[tuple[Callable[[Regular], None], int], ...] = (
    (Regular.paint, 45),
    (Regular.pick, 10),
    (Regular.upload, 8),
    (Regular.upload_badly, 10),
    (Regular.turn_page, 12),
    (Regular.change_model, 6),
    (Regular.come_back, 9),
)
"""What is done how often."""


@dataclass
class Watch:
    """The server from outside.

    Attributes:
        process: the server.
        log: what it writes.
        begin: when it was first looked at, on the monotonic clock.
        seen: seconds since then, MB of the server, MB and number of its other processes.
    """

    process: psutil.Process
    log: Path
    begin: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, float, float, int]] = field(default_factory=list)

    def look(self) -> None:
        """Notes the memory."""
        workers = [_megabytes(one) for one in self.process.children(recursive=True)]
        seconds = time.monotonic() - self.begin
        own = _megabytes(self.process)
        self.seen.append((seconds, own, sum(workers), len(workers)))

    def mishaps(self) -> list[str]:
        """Lines of the log that should not be there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line[:300] for line in lines if any(word in line for word in MISHAPS)]

    def report(self) -> dict:
        """Memory, threads and processors so far."""
        seconds = np.array([row[0] for row in self.seen])
        own = np.array([row[1] for row in self.seen])
        steps = [own[(seconds >= s) & (seconds < s + EVERY)] for s in range(0, 10**6, int(EVERY))]
        quarter = np.searchsorted(seconds, seconds[-1] * np.array([0.25, 0.5, 0.75]))
        used = self.process.cpu_times()  # its own, and that of processes of its that have ended
        return {
            "server_mb": [round(float(np.median(part))) for part in steps if len(part)],
            "server_mb_most": round(float(own.max())),
            "server_growth": round(
                float(np.median(own[quarter[2] :]) / np.median(own[quarter[0] : quarter[1] + 1]))
                - 1,
                3,
            ),
            "workers_mb": round(self.seen[-1][2]),
            "workers_mb_most": round(max(row[2] for row in self.seen)),
            "workers": self.seen[-1][3],
            "threads": self.process.num_threads(),
            "cores_used": round(sum(used[:4]) / seconds[-1], 2),
        }


def _megabytes(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:  # it ended just now
        return 0.0


def main(
    minutes: float = 120,
    visitors: int = 5,
    think: tuple[float, float] = (10.0, 20.0),
    log: Path = Path("soak.log"),
) -> None:
    """Runs it.

    Args:
        minutes: how long.
        visitors: how many.
        think: seconds that each thinks between two things, at least and at most.
        log: the server's, which stays.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, port = folder / SMALL, browser.free_port()
        make_model(model)
        command = [sys.executable, "-m", "app.serve", "--address", "127.0.0.1"]
        command += ["--port", str(port), "--model", str(model)]
        with browser.running(command, log, port) as address:
            (server,) = psutil.Process().children()
            soak(address, Watch(server, log), folder, minutes, visitors, think)


def make_model(folder: Path) -> None:
    """A model of random weights, small."""
    from vjepa import checkpoint
    from vjepa.model import VJEPA

    torch.manual_seed(0)
    checkpoint.save(VJEPA(TINY), folder, torch.float32)


def soak(
    address: str,
    watch: Watch,
    folder: Path,
    minutes: float,
    visitors: int,
    think: tuple[float, float],
) -> None:
    """Lets them in, watches, and reports."""
    diaries = [Diary() for _ in range(visitors)]
    end, due = time.monotonic() + 60 * minutes, time.monotonic() + EVERY
    with ThreadPoolExecutor(visitors) as threads:
        staying = [
            threads.submit(lambda n=n, d=d: Regular(address, n, folder, d).stay(end, think))
            for n, d in enumerate(diaries)
        ]
        while not all(one.done() for one in staying):
            time.sleep(min(GLANCE, max(0.0, end - time.monotonic()) + 1))
            watch.look()
            if time.monotonic() > due:
                print(json.dumps(told(watch, diaries)), flush=True)
                due += EVERY
        for one in staying:
            one.result()
    watch.look()
    print(json.dumps(told(watch, diaries) | {"end": True}))


def told(watch: Watch, diaries: list[Diary]) -> dict:
    """All there is to say so far."""
    did = sum((diary.did for diary in diaries), Counter())
    waits = [wait for diary in diaries for wait in diary.waits] or [0.0]
    wrong = [line for diary in diaries for line in diary.wrong]
    mishaps = watch.mishaps()
    return {
        "minutes": round(watch.seen[-1][0] / 60, 1),
        "did": dict(did),
        "answers": len(waits),
        "pictures": sum(diary.pictures for diary in diaries),
        "refused": sum(diary.refused for diary in diaries),
        "median_seconds": round(statistics.median(waits), 2),
        "worst_seconds": round(max(waits), 2),
        "errors": len(wrong),
        "mishaps": len(mishaps),
        **watch.report(),
        "errors_first": wrong[:5],
        "mishaps_first": mishaps[:5],
    }


if __name__ == "__main__":
    tyro.cli(main)
