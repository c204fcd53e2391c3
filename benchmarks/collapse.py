"""Does the small training of the lesson collapse, with each safeguard on or off, seed by seed?

python benchmarks/collapse.py [--seeds 10]
"""

import argparse
import itertools
import time

import numpy as np
import torch

from vjepa.analysis.collapse import NAMES, Safeguards, trained, verdict


def main() -> None:
    """Trains every combination with every seed, and prints what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="trainings of each combination")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    for on in itertools.product((True, False), repeat=len(NAMES)):
        safeguards = Safeguards(*on)
        runs = [run(safeguards, seed) for seed in range(seeds)]
        ends = [verdict(spreads) for spreads, _ in runs]
        told = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
        last = " ".join(f"{spreads[-1]:.2f}" for spreads, _ in runs)
        seconds = np.median([seconds for _, seconds in runs])
        print(f"{describe(on):48} {told:24} spread {last}  ({seconds:.0f} s each)", flush=True)


def run(safeguards: Safeguards, seed: int) -> tuple[list[float], float]:
    """The spreads on the way, and the seconds that it took."""
    began = time.perf_counter()
    spreads = [look.spread for look in trained(safeguards, seed)]
    return spreads, time.perf_counter() - began


def describe(on: tuple[bool, ...]) -> str:
    """What is in place, and what is not."""
    return ", ".join(name if there else f"no {name}" for name, there in zip(NAMES, on, strict=True))


if __name__ == "__main__":
    main()
