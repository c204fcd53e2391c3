"""The command `python -m decoder retrieve`: predictions as pixels, for any model, untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from decoder import media
from decoder.explorer import Explorer
from decoder.mask_file import read_mask
from decoder.retrieval.bank import Bank, Progress
from vjepa.errors import InputError


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
    playback_fps: float = 8.0,
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
    writer = {".mp4": media.write_mp4, ".gif": media.write_gif}.get(out.suffix.lower())
    if writer is None:
        raise InputError(f"{out} must end in .mp4 or .gif.")
    explorer = Explorer.load(model)
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
