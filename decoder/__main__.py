"""The commands of the decoder: `python -m decoder --help`."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm.auto import tqdm

from decoder.bank import Bank, Progress
from decoder.explorer import PLAYBACK_FPS, Explorer
from decoder.media import read_mask, writer_of
from decoder.pairing import read_of
from decoder.pipeline import STEPS
from decoder.replay import Replay
from decoder.scoring import report
from decoder.scoring.score import score_decoder
from decoder.training.train import TrainConfig
from decoder.training.train import train as run_training
from vjepa import errors
from vjepa.checkpoint import require_predictor
from vjepa.data.clips import find_videos
from vjepa.data.sources import files_read


def train(config: Annotated[TrainConfig, tyro.conf.arg(name="")]) -> None:
    """Train a decoder on a frozen model; prints the folder it was written to."""
    errors.require_unread(config.out, chain(read_of(config.model), files_read(config.data)))
    errors.require_unread(config.out / "decoder", [config.model, config.begin_with])
    print(run_training(config))


def evaluate(
    model: str = "demo",
    decoder: Path | None = None,
    clips: str = "world",
    n: int = 200,
    levels: tuple[int, ...] = (0, 1, 2, 3, 4),
    masks: str = "",
    steps: int = STEPS,
    seed: int = 0,
    out: Path | None = None,
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Score decoded predictions against the ceiling, other clips', nothing, and trivial fills.

    Args:
        model: "demo", a folder with model/ and decoder/, or a model that a decoder was trained on.
        decoder: the folder of its decoder, where none is found beside it or it is to be another.
        clips: "world" (held-out objects and panoramas), "physics" (scenes of the test split),
            "real", or a folder of videos.
        n: number of clips.
        levels: difficulties of the world, mixed equally.
        masks: kinds that every clip is scored behind too, with commas between: short, long, future,
            thing (a box around a thing's way, from a moment on), still (the same on one frame
            repeated).
        steps: of the diffusion.
        seed: of clips, masks and noise.
        out: a file to write the table to, as JSON; its charts go beside it, as SVG.
        json_line: print the table as one line of JSON.
    """
    for file in (out, out.with_suffix(".svg")) if out else ():
        errors.require_unread(file, chain(read_of(model), [decoder], files_read(clips)))
    explorer = Explorer.load(model, decoder=decoder)
    explorer.require_decoder()
    kinds = tuple(filter(None, masks.split(",")))
    table = score_decoder(explorer, clips, n, levels=levels, seed=seed, steps=steps, kinds=kinds)
    if out:
        report.write(table, out)
    print(json.dumps(table) if json_line else report.as_text(table))


def decode(
    video: Annotated[Path | None, tyro.conf.Positional] = None,
    *,
    out: Path,
    replay: Path | None = None,
    mask: str = "long",
    model: str = "demo",
    decoder: Path | None = None,
    seeds: tuple[int, ...] = (0, 1, 2, 3),
    steps: int = STEPS,
    start: float = 0.0,
    fps: float | None = None,
    playback_fps: float = PLAYBACK_FPS,
) -> None:
    """Decode what is predicted behind a mask, side by side: original, samples, ceiling.

    Args:
        video: a video or a still image.
        out: the .mp4 or .gif to write, or .npz: samples and ceiling to the last bit.
        replay: a recipe that the app exported; it says all but where the file of an upload is.
        mask: a preset (short, long, tube, box, future, random), or a .npy file of bools (t, h, w).
        model: "demo", a folder with model/ and decoder/, or a model that a decoder was trained on.
        decoder: the folder of its decoder, where none is found beside it or it is to be another.
        seeds: one sample each.
        steps: of the diffusion.
        start: seconds into the video.
        fps: frames a second that are read; by default the published stride.
        playback_fps: frames a second of the result.
    """
    recipe = Replay.read(replay) if replay else None
    name, frames = (recipe.model, recipe.num_frames) if recipe else (model, None)
    writer = None if out.suffix.lower() == ".npz" else writer_of(out)
    errors.require_unread(out, [video, replay, mask, decoder, *read_of(name)])
    explorer = Explorer.load(name, decoder=decoder, num_frames=frames)
    explorer.require_decoder()
    if recipe:
        result = recipe.run(explorer, video)
    else:
        explorer.set_clip(_given(video), start=start, fps=fps)
        result = explorer.predict(read_mask(mask, explorer.grid), seeds=seeds, steps=steps)
    out.parent.mkdir(parents=True, exist_ok=True)
    if writer:
        writer(out, np.concatenate([explorer.frames, result.panels], axis=2), playback_fps)
    else:
        np.savez_compressed(out, samples=result.frames, ceiling=result.ceiling)
    print(out)


def _given(video: Path | None) -> Path:
    if video is None:
        raise errors.InputError(
            "There is nothing to decode: name a video, or a recipe with --replay."
        )
    return video


def retrieve(
    video: Annotated[Path, tyro.conf.Positional],
    out: Path,
    mask: str = "long",
    model: str = "demo",
    videos: Path | None = None,
    bank: Path | None = None,
    clips: int | None = None,
    start: float = 0.0,
    fps: float | None = None,
    playback_fps: float = PLAYBACK_FPS,
) -> None:
    """Show what is predicted by the nearest tubelets of other clips: original, collage, ceiling.

    Args:
        video: a video or a still image; a video of that name in the bank is not searched.
        out: the .mp4 or .gif to write.
        mask: a preset (short, long, tube, box, future, random), or a .npy file of bools (t, h, w).
        model: any that `vjepa.load` opens: no decoder is needed.
        videos: a folder of videos to retrieve from; by default the bundled and drawn clips.
        bank: a folder that keeps the bank's features, so that they are computed once for a model.
        clips: how many the bank holds; by default 64, or fewer where clips have many tokens.
        start: seconds into the video.
        fps: frames a second that are read; by default the published stride.
        playback_fps: frames a second of the result.
    """
    writer = writer_of(out)
    errors.require_unread(
        out, [video, mask, *read_of(model), *(find_videos(videos) if videos else ())]
    )
    explorer = Explorer.load(model)
    require_predictor(explorer.config)
    explorer.set_clip(video, start=start, fps=fps)
    hidden = read_mask(mask, explorer.grid)
    seen = explorer.features(hidden)
    with tqdm(desc="bank", unit="clip", delay=0.1) as bar:
        made = Bank.from_videos(explorer.model, videos, count=clips, folder=bank, progress=_on(bar))
    truth = explorer.targets[seen.target_idx]
    collages = [
        made.collage(explorer.frames, features, seen.target_idx, leave_out=video.stem)
        for features in (seen.predictions, truth)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    panels = [explorer.frames, *(collage.frames for collage in collages)]
    writer(out, np.concatenate(panels, axis=2), playback_fps)
    print(f"{out}: mean distance {np.nanmean(collages[0].distance):.3f}")


def _on(bar: tqdm) -> Progress:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


COMMANDS = {"train": train, "evaluate": evaluate, "decode": decode, "retrieve": retrieve}

if __name__ == "__main__":
    errors.run_command(COMMANDS, prog="python -m decoder")
