"""What opening a full-size checkpoint costs: `python benchmarks/open_checkpoint.py`.

Opens ViT-H (generated when the file is absent) in a fresh process, once in the machine's default
precision and once in float32, encodes a clip and predicts behind a long-range mask (one call each,
nothing warm), and prints one JSON object. Memory is watched from outside, every
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
from vjepa.tokens import split

def seconds(work):
    start = time.perf_counter()
    return work(), time.perf_counter() - start

vjepa.load("demo")  # imports, first allocations
print("ready", flush=True)
sys.stdin.readline()
path, dtype, frames = sys.argv[1:]
how = {"device": "cpu", "dtype": getattr(torch, dtype, None), "num_frames": int(frames)}
model, opening = seconds(lambda: vjepa.load(path, **how))
tensors = {t.untyped_storage().data_ptr(): t for t in [*model.parameters(), *model.buffers()]}
kept = sum(t.untyped_storage().nbytes() for t in tensors.values())
print(json.dumps({"seconds": opening, "kept": kept, "dtype": str(model.dtype)}), flush=True)
sys.stdin.readline()
shape = model.config
clip = torch.randn(1, 3, shape.num_frames, shape.image_size, shape.image_size)
mask = vjepa.masks.multiblock(model.grid, "long", generator=torch.Generator().manual_seed(0))
context_idx, target_idx = split(mask)
edit = lambda: model.predict(model.encode_context(clip, context_idx), context_idx, target_idx)
found = {"encode": seconds(lambda: model.encode(clip)), "edit": seconds(edit)}
finite = all(bool(out.isfinite().all()) for out, _ in found.values())
print(json.dumps({"finite": finite, **{f"{n}_seconds": s for n, (_, s) in found.items()}}))
"""
PERIOD = 0.003  # seconds between two looks


def memory(pid: int) -> dict[str, int]:
    """Bytes of a process: anonymous, and resident in all (Linux)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    names = {"anonymous": "RssAnon", "resident": "VmRSS"}
    return {kind: 1024 * int(fields[name].split()[0]) for kind, name in names.items()}


def measure(path: Path, dtype: str, num_frames: int) -> dict:
    """Opens and uses the file in a fresh process: seconds, and peak memory over what it had."""
    words = [sys.executable, "-c", CHILD, str(path), dtype, str(num_frames)]
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
        used = json.loads(child.communicate("use it\n")[0])
    return _ratios(opened, {kind: peak[kind] - before[kind] for kind in peak}, used)


def _ratios(opened: dict, peak: dict[str, int], used: dict) -> dict:
    return {
        "dtype": opened["dtype"].removeprefix("torch."),
        "seconds": round(opened["seconds"], 1),
        "kept_gb": round(opened["kept"] / 1e9, 2),
        **{f"{kind}_gb": round(size / 1e9, 2) for kind, size in peak.items()},
        **{f"{kind}_to_kept": round(size / opened["kept"], 2) for kind, size in peak.items()},
        **{n: v if isinstance(v, bool) else round(v, 2) for n, v in used.items()},
    }


def main() -> None:
    """Makes the file if need be, opens it in both precisions, prints what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout", choices=LAYOUTS, default="vith16")
    parser.add_argument("--file", type=Path, help="runs/<layout>.pth.tar, made when it is absent")
    parser.add_argument("--frames", type=int, default=16, help="frames in the clip")
    args = parser.parse_args()
    path = args.file or Path("runs") / f"{args.layout}.pth.tar"
    if not path.exists():
        write(LAYOUTS[args.layout], path)
    opened = [measure(path, dtype, args.frames) for dtype in ("default", "float32")]
    file = {"layout": args.layout, "file_gb": round(path.stat().st_size / 1e9, 2)}
    print(json.dumps({**file, "opened": opened}))


if __name__ == "__main__":
    main()
