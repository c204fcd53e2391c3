"""What does the server make of bad input? 300 files, links, strokes and checkpoints by path.

    python benchmarks/bad_inputs.py --count 300

A fresh server that opens paths; each input is to cost one sentence, and nobody's page. Before and
after, a good file is decoded and the memory is read. The last line is JSON.
"""

import json
import sys
import tempfile
from pathlib import Path

import psutil
import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import browser  # noqa: E402
from siege import Siege  # noqa: E402


def main(count: int = 300, seed: int = 0, log: Path = Path("bad_inputs.log")) -> None:
    """Sends them.

    Args:
        count: how many.
        seed: of what is drawn.
        log: the server's, which stays.
    """
    with tempfile.TemporaryDirectory() as folder, browser.serving(log) as address:
        (server,) = psutil.Process().children()
        found = Siege(address, server, Path(folder), seed).lay(count)
    for fault in found.faults:
        print(fault)
    print(
        json.dumps(
            {
                "sent": dict(found.sent),
                "told": dict(found.told),
                "faults": len(found.faults),
                "code_ran": found.ran,
                "memory_growth": round(found.growth, 3),
                "server_mb": round(found.after),
            }
        )
    )


if __name__ == "__main__":
    tyro.cli(main)
