"""What visitors wait for while others are there, as multiples of what a lone one waits for.

    python benchmarks/serve.py                                      # all rows of docs/serve.md
    python benchmarks/serve.py --visitors 5 --seconds 60 --busy 1   # one of them

A fresh server for each row; visitors on its websocket, each with a clip of his own, paint one mask
after the other: the next as soon as the last is answered. First one visitor alone, then as many as
the row says, beside so many processes that do nothing but work. Times are from the stroke to the
answer. Memory is the server's and its workers', after a third of the time and at the end. At last
`--check` of the answers are asked for again, one at a time and in this process, and bytes are
compared. The table is printed as Markdown, the last line is JSON.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import Process
from pathlib import Path

import numpy as np
import psutil
import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402
from visitor import Visitor  # noqa: E402

ALONE = 15.0
"""Seconds that the lone visitor paints."""


@dataclass(frozen=True)
class Row:
    """What is measured.

    Attributes:
        visitors: how many at once.
        seconds: for how long.
        busy: processes beside the server that only work.
    """

    visitors: int
    seconds: float
    busy: int = 0


ROWS = (Row(1, 60), Row(5, 60), Row(20, 180), Row(5, 60, busy=1))
"""Of docs/serve.md."""


@dataclass
class Tally:
    """What one visitor saw.

    Attributes:
        times: seconds of each answer.
        answers: clip, mask and sheets of each.
        wrong: exceptions on his page.
    """

    times: list[float] = field(default_factory=list)
    answers: list[tuple[int, np.ndarray, tuple[bytes, ...]]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main(visitors: int | None = None, seconds: float = 60, busy: int = 0, check: int = 200) -> None:
    """Measures.

    Args:
        visitors: how many at once; without it, all rows of docs/serve.md.
        seconds: of the one row.
        busy: processes beside the one row's server that only work.
        check: how many answers are compared with serial ones.
    """
    rows = (Row(visitors, seconds, busy),) if visitors else ROWS
    found, told = [], []
    for row in rows:
        with working(row.busy):
            lone, tallies, memory = measured(row)
        found.append(numbers(row, lone, tallies, memory))
        told += [answer for tally in tallies for answer in tally.answers]
        print(json.dumps(found[-1]), flush=True)
    print(table(found))
    equal = compare(told, check) if check else None
    load = os.getloadavg()[0]
    print(json.dumps({"rows": found, "cores": os.cpu_count(), "load": load, "byte_equal": equal}))


def measured(row: Row) -> tuple[list[Tally], list[Tally], list[int]]:
    """What the lone visitor saw, what the many saw, and the server's bytes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        browser.serving(Path(folder) / "log.txt") as address,
    ):
        lone, _ = together(address, 1, ALONE, first=1000)
        return lone, *together(address, row.visitors, row.seconds)


@contextmanager
def working(count: int) -> Iterator[None]:
    """So many processes that only work, until the block ends."""
    processes = [Process(target=work_on, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def work_on() -> None:
    """Takes a core."""
    while True:
        sum(range(10**6))


def together(
    address: str, count: int, seconds: float, first: int = 0
) -> tuple[list[Tally], list[int]]:
    """So many visitors at once, on clips from this one on; what they saw, the server's bytes."""
    clips = range(first, first + count)
    rooms = [Visitor(address, f"clip=world-{number}") for number in clips]
    for one in rooms:
        one.wait_for_answer()
    begin = time.monotonic()
    with ThreadPoolExecutor(count + 1) as threads:
        watched = threads.submit(watch, begin + seconds / 3, begin + seconds)
        painters = zip(clips, rooms, strict=True)
        seen = threads.map(lambda painter: paint_on(*painter, begin + seconds), painters)
        tallies = list(seen)
    for one in rooms:
        one.leave()
    return tallies, watched.result()


def paint_on(number: int, visitor: Visitor, until: float) -> Tally:
    """Paints and waits, on and on."""
    tally, random = Tally(), np.random.default_rng(number)
    while time.monotonic() < until:
        mask = drawn(visitor.grid, random)
        begin = time.monotonic()
        sheets = visitor.wait_for_answer(visitor.paint(mask))[:4]
        tally.times.append(time.monotonic() - begin)
        tally.answers.append((number, mask, tuple(sheets)))
    tally.wrong = visitor.exceptions
    return tally


def drawn(grid: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """A rectangle through a part of the time, never the same twice in a run."""
    mask = np.zeros(grid, bool)
    low, high = np.sort(random.integers(0, np.array(grid)[:, None], (3, 2)), axis=1).T
    mask[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
    mask[0] = False  # something is always seen
    mask.flat[mask.size - 1 - random.integers(mask[0].size)] = True
    return mask


def watch(*moments: float) -> list[int]:
    """Bytes of the server at these moments."""
    return [_bytes_at(moment) for moment in moments]


def _bytes_at(moment: float) -> int:
    time.sleep(max(0.0, moment - time.monotonic()))
    family = psutil.Process().children(recursive=True)
    return sum(one.memory_info().rss for one in family if one.name() != "resource_tracker")


def numbers(row: Row, lone: list[Tally], tallies: list[Tally], memory: list[int]) -> dict:
    """Median, worst and rate, in multiples of the lone visitor's median and rate."""
    alone = lone[0].times
    unit, rate = statistics.median(alone), len(alone) / sum(alone)
    times = [each for tally in tallies for each in tally.times]
    median, served = statistics.median(times), len(times) / row.seconds
    return {
        **asdict(row),
        "median": round(median / unit, 2),
        "worst": round(max(times) / unit, 2),
        "worst_by_median": round(max(times) / median, 2),
        "answers": round(served / rate, 2),
        "fewest_by_most": round(_fewest_by_most(tallies), 2),
        "memory_growth": round(memory[-1] / memory[0] - 1, 3),
        "wrong": sum(len(tally.wrong) for tally in tallies),
        "lone_seconds": round(unit, 3),
        "count": len(times),
    }


COLUMNS = {
    "visitors": "visitors",
    "busy": "busy processes beside",
    "seconds": "seconds",
    "median": "median wait",
    "worst": "longest wait",
    "worst_by_median": "longest by median",
    "answers": "answers a second",
    "fewest_by_most": "fewest by most answers of a visitor",
    "memory_growth": "memory from a third of the time to its end",
}


def table(found: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [list(COLUMNS.values()), ["---"] * len(COLUMNS)]
    lines += [
        [f"{row[key]:+.0%}" if key == "memory_growth" else f"{row[key]:g}" for key in COLUMNS]
        for row in found
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fewest_by_most(tallies: list[Tally]) -> float:
    """How fair it was: answers of who got the fewest, by those of who got the most."""
    counts = [len(tally.times) for tally in tallies]
    return min(counts) / max(counts)


def compare(told: list, count: int) -> str:
    """How many of the answers are, byte by byte, what one gets alone."""
    from app.mask_and_decode import answers
    from app.workbench.clip import ClipAddress, load_clip
    from app.workbench.models import DEMO
    from app.workbench.session import DEFAULT_STEPS

    equal = 0
    chosen = told[:: max(1, len(told) // count)][:count]
    for number, mask, sheets in chosen:
        clip = load_clip(ClipAddress("world", str(number)), DEMO)
        question = answers.ask(clip, mask, (0, 1, 2, 3), DEFAULT_STEPS)
        equal += answers.fresh_answer(question, clip).samples == sheets
    return f"{equal} of {len(chosen)}"


if __name__ == "__main__":
    tyro.cli(main)
