"""Scores the bundled model and writes its card: `python benchmarks/score_demo.py`.

Decoding on held-out clips of the physics world and of the drawn one, and on the two untrained real
videos; then behind masks as people draw them, these also on `--videos`, a folder of videos from the
sources of the training's that were kept out of it. Every number of assets/demo/card.json and every
picture of assets/demo/cases comes from here; what probes say is made by probe_table.py.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from decoder import Explorer
from decoder.pipeline import STEPS
from decoder.scoring import report
from decoder.scoring.cases import write_cases
from decoder.scoring.held_out import Clips, held_out
from decoder.scoring.hide import HIDDEN_KINDS, score_kinds, score_presets
from decoder.scoring.score import score_clips
from vjepa.checkpoint import BUNDLED
from vjepa.data.clips import bundled_clips, read_frames
from vjepa.errors import end_with_parent

SOURCES = ("physics", "world", "real")
LEVELS = (0, 1, 2, 3, 4)
SEED = 0


def score(source: str, n: int, cases: Path) -> dict:
    """Decoding of one kind of clips, with its cases as pictures."""
    explorer, clips = opened(source, n)
    settings = {"seed": SEED, "steps": STEPS}
    table, scores = score_clips(explorer, clips, **settings)
    return table | {"cases": write_cases(explorer, clips, scores, cases / source, **settings)}


def score_hidden(source: str, n: int) -> dict:
    """Predictions over fills behind masks as people draw them."""
    return score_kinds(*opened(source, n), HIDDEN_KINDS, seed=SEED, steps=STEPS)


def score_shown() -> dict:
    """Every preset's mask on every bundled clip."""
    explorer = Explorer.load("demo")
    return score_presets(explorer, shown(explorer), seed=SEED, steps=STEPS)


def opened(source: str, n: int) -> tuple[Explorer, Clips]:
    """The bundled model, and clips that it was not trained on."""
    explorer = Explorer.load("demo")
    generator = Generator().manual_seed(SEED)
    return explorer, held_out(source, n, explorer.config, LEVELS, generator)


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """One for each core: a clip of this model does not keep two of them busy."""
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, _begin_work) as pool:
        yield pool


def _begin_work() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def make_card(
    physics_clips: int,
    world_clips: int,
    real_clips: int,
    out: Path,
    videos: Path | None = None,
    video_clips: int = 0,
) -> dict:
    """Scores as the card keeps them; pictures and charts are written beside it."""
    folder, cases = BUNDLED["demo"].parent, out / "cases"
    shutil.rmtree(cases, ignore_errors=True)  # other clips may be the worst by now
    counts = dict(zip(SOURCES, (physics_clips, world_clips, real_clips), strict=True))
    with processes() as pool:
        decoding = {name: pool.submit(score, name, n, cases) for name, n in counts.items()}
        hidden = {name: pool.submit(score_hidden, name, n) for name, n in counts.items()}
        other = pool.submit(score_hidden, str(videos), video_clips) if videos else None
        presets = pool.submit(score_shown)
        scores = {name: joined(decoding[name], hidden[name]) for name in SOURCES}
    for source, table in scores.items():
        report.save_charts(table, out / f"scores_{source}.svg")
    card = {
        "model": json.loads((folder / "model" / "training.json").read_text()),
        "decoder": json.loads((folder / "decoder" / "training.json").read_text()),
        "prediction_error": scores["world"]["prediction_error"],
        "scores": scores,
        "presets": presets.result(),
    }
    if other:
        card["held_out_videos"] = {"by_mask_kind": other.result()}
    return card


def joined(decoding: Future, hidden: Future) -> dict:
    """Both tables of one kind of clips; cases come last."""
    table = decoding.result()
    cases = table.pop("cases")
    return table | {"by_mask_kind": hidden.result(), "cases": cases}


def shown(explorer: Explorer) -> dict[str, np.ndarray]:
    """The bundled clips, as the app shows them."""
    size = (explorer.config.image_size, explorer.config.num_frames)
    return {name: read_frames(path, *size) for name, path in bundled_clips().items()}


def main() -> None:
    """Writes the card and prints it as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physics-clips", type=int, default=500)
    parser.add_argument("--world-clips", type=int, default=500)
    parser.add_argument("--real-clips", type=int, default=64)
    parser.add_argument("--videos", type=Path, help="folder of held-out videos")
    parser.add_argument("--video-clips", type=int, default=500)
    parser.add_argument("--out", type=Path, default=BUNDLED["demo"].parent)
    settings = parser.parse_args()
    card = make_card(**vars(settings))
    (settings.out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card))


if __name__ == "__main__":
    main()
