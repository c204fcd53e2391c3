"""What opening a full-size checkpoint costs: `python benchmarks/open_checkpoint.py`.

Opens ViT-H (generated when the file is absent) in a fresh process, once in the machine's default
precision and once in float32, and prints one JSON object. Memory is watched from outside, every
few milliseconds, and counted from where the process stood before it opened the file:

- `anonymous`: memory of the process alone. This is what opening costs.
- `resident`: with the pages of the file that are mapped. They are the system's cache; it takes
  them back when another process wants memory, so a high number here is not a cost.

Both are given as ratios to the bytes of the tensors that are kept.
"""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
from pathlib import Path

from make_checkpoint import LAYOUTS, write

CHILD = """
import json, sys, time
import torch, vjepa
vjepa.load("demo")  # imports, first allocations
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
dtype = getattr(torch, sys.argv[2]) if sys.argv[2] != "default" else None
model = vjepa.load(sys.argv[1], device="cpu", dtype=dtype)
seconds = time.perf_counter() - start
tensors = {t.untyped_storage().data_ptr(): t for t in [*model.parameters(), *model.buffers()]}
kept = sum(t.untyped_storage().nbytes() for t in tensors.values())
print(json.dumps({"seconds": seconds, "kept": kept, "dtype": str(model.dtype)}), flush=True)
sys.stdin.readline()
"""
PERIOD = 0.003  # seconds between two looks


def memory(pid: int) -> dict[str, int]:
    """Bytes of a process: anonymous, and resident in all (Linux)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    names = {"anonymous": "RssAnon", "resident": "VmRSS"}
    return {kind: 1024 * int(fields[name].split()[0]) for kind, name in names.items()}


def measure(path: Path, dtype: str) -> dict:
    """Opens the file in a fresh process: seconds, and peak memory over what it had before."""
    words = [sys.executable, "-c", CHILD, str(path), dtype]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        before = memory(child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        peak = before
        while not select.select([child.stdout], [], [], PERIOD)[0]:
            now = memory(child.pid)
            peak = {kind: max(peak[kind], now[kind]) for kind in now}
        opened = json.loads(child.stdout.readline())
        child.communicate("end\n")
    return _ratios(opened, {kind: peak[kind] - before[kind] for kind in peak})


def _ratios(opened: dict, peak: dict[str, int]) -> dict:
    return {
        "dtype": opened["dtype"].removeprefix("torch."),
        "seconds": round(opened["seconds"], 1),
        "kept_gb": round(opened["kept"] / 1e9, 2),
        **{f"{kind}_gb": round(size / 1e9, 2) for kind, size in peak.items()},
        **{f"{kind}_to_kept": round(size / opened["kept"], 2) for kind, size in peak.items()},
    }


def main() -> None:
    """Makes the file if need be, opens it in both precisions, prints what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout", choices=LAYOUTS, default="vith16")
    parser.add_argument("--file", type=Path, help="runs/<layout>.pth.tar, made when it is absent")
    args = parser.parse_args()
    path = args.file or Path("runs") / f"{args.layout}.pth.tar"
    if not path.exists():
        write(LAYOUTS[args.layout], path)
    opened = [measure(path, dtype) for dtype in ("default", "float32")]
    file = {"layout": args.layout, "file_gb": round(path.stat().st_size / 1e9, 2)}
    print(json.dumps({**file, "opened": opened}))


if __name__ == "__main__":
    main()
