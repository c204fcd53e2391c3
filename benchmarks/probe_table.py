"""Probes the bundled model and writes the table: `python benchmarks/probe_table.py`.

V-JEPA, pixel prediction and random weights; attentive, average-pooling, linear and k-NN probes;
5, 10, 50 and 100 % of the labels; several seeds. Asks for appearance, motion and location in clips
of the drawn world, or, with `--world physics --test-clips 600 --seeds 1 --pixels FOLDER`, for event
and shape in clips of the physics world. Everything in assets/demo/probes.json and
probes_physics.json comes from here, and so do the probes that the app asks. An interrupted run goes
on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import vjepa
from vjepa.analysis.attentive import save_probe
from vjepa.analysis.features import Tokens, encode
from vjepa.analysis.fit import RECIPES, fit
from vjepa.analysis.probe import (
    CACHE,
    Scores,
    Trial,
    baselines_of,
    choose,
    labelled_clips,
    measure,
    table,
)
from vjepa.analysis.tasks import PHYSICS_TASKS, WORLD_TASKS, Task
from vjepa.baselines import load_pixel_prediction
from vjepa.checkpoint import BUNDLED

LABELS = (1.0, 0.5, 0.1, 0.05)
KINDS = ("attentive", "average", "linear", "knn")
"""All but the deep one, which takes ten times as long as these together."""
RECIPE = RECIPES["attentive"]
TASKS = {"drawn": WORLD_TASKS, "physics": PHYSICS_TASKS}
APP_TASKS = {"drawn": ("appearance", "motion"), "physics": ("event",)}
FILES = {"drawn": "probes.json", "physics": "probes_physics.json"}
TokensOf = dict[str, Tokens]


class Stopwatch:
    """Seconds of every stage; a stage that an earlier run had done takes hardly any."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of what is done within."""
        begun = time.monotonic()
        yield
        passed = time.monotonic() - begun
        self.seconds[name] = round(self.seconds.get(name, 0.0) + passed, 1)


class DoneRuns:
    """Scores of the runs that are done, one file each, until the table is written."""

    def __init__(self, folder: Path, settings: dict, train: TokensOf, test: TokensOf) -> None:
        files = [str(tokens.records.filename) for tokens in (*train.values(), *test.values())]
        key = json.dumps([settings, asdict(RECIPE), files])
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, run: Trial) -> Scores | None:
        """The scores of a run, or None if it is not done."""
        if not self._path(run).is_file():
            return None
        with np.load(self._path(run)) as arrays:
            return {tuple(name.split()): arrays[name] for name in arrays}

    def write(self, run: Trial, scores: Scores) -> None:
        """Keeps the scores of a run; a file that is there is whole."""
        partial = self._path(run).with_suffix(".partial.npz")
        np.savez(partial, **{" ".join(pair): values for pair, values in scores.items()})
        partial.rename(self._path(run))

    def forget(self) -> None:
        """The table is written: the next one begins anew."""
        shutil.rmtree(self.folder)

    def _path(self, run: Trial) -> Path:
        return self.folder / f"{'-'.join(map(str, run))}.npz"


def score(
    done: DoneRuns, train: TokensOf, test: TokensOf, tasks: list[Task], seeds: int
) -> list[dict]:
    """The table's rows."""
    scores = {}
    for run in tqdm(list(product(train, LABELS, range(seeds))), desc="probes", unit="run"):
        scores[run] = done.read(run)
        if scores[run] is None:
            scores[run] = measure(run, train, test, tasks, KINDS)
            done.write(run, scores[run])
    return table(scores, train["model"], test["model"], tasks)


def save_app_probes(train: Tokens, folder: Path, world: str, settings: dict) -> None:
    """The attentive probes of seed 0 and all labels, once more, for the app."""
    pairs = [(TASKS[world][name], "attentive") for name in APP_TASKS[world]]
    recipe = {**settings, "seed": 0, **asdict(RECIPE)}
    for (task, _), probe in fit(pairs, choose(train, 1.0, seed=0), seed=0).items():
        save_probe(probe, folder / task.name, {"task": task.name, **recipe})


def main() -> None:
    """Writes the table and the app's probes, and prints the table as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", choices=list(TASKS), default="drawn")
    parser.add_argument("--level", type=int, default=1, help="difficulty of the drawn world")
    parser.add_argument("--train-clips", type=int, default=5000)
    parser.add_argument("--test-clips", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--cache", type=Path, default=CACHE, help="features; about 3 GB")
    parser.add_argument("--pixels", type=Path, help="a pixel prediction to compare with")
    parser.add_argument("--out", type=Path, default=BUNDLED["demo"].parent)
    options = parser.parse_args()
    counts = {"train_clips": options.train_clips, "test_clips": options.test_clips}
    world = {"level": options.level} if options.world == "drawn" else {"world": "physics"}
    settings, asked = world | counts, TASKS[options.world]
    model, watch = vjepa.load("demo"), Stopwatch()
    models = {"model": model, **baselines_of(model)}
    if options.pixels:
        twin = load_pixel_prediction(options.pixels)
        models["pixel"] = twin.to(model.device, model.dtype)
    tokens = {}
    for split in ("train", "test"):
        count = settings[f"{split}_clips"]
        clips = labelled_clips(tuple(asked), options.level, split, count, model.config)
        with watch.stage(f"draw and encode {split} clips"):
            tokens[split] = encode(models, clips, options.cache)
    done = DoneRuns(options.cache / "done", settings, tokens["train"], tokens["test"])
    with watch.stage("fit and ask all probes"):
        rows = score(done, tokens["train"], tokens["test"], list(asked.values()), options.seeds)
    with watch.stage("probes of the app"):
        learned = tokens["train"]["model"]
        save_app_probes(learned, options.out / "probes", options.world, settings)
    results = {
        "settings": settings,
        "models": list(models),
        "recipe": asdict(RECIPE),
        "threads": torch.get_num_threads(),
        "seconds": watch.seconds,
        "rows": rows,
    }
    (options.out / FILES[options.world]).write_text(json.dumps(results, indent=1) + "\n")
    done.forget()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
