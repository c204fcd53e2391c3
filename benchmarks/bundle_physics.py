"""Draws the bundled clips of the physics world: `python benchmarks/bundle_physics.py`.

They are of the test split, from seeds that no training draws; each opens with the box around its
thing's way hidden, from a time step on. Writes the clips beside the real ones, and their entries
in assets/clips/clips.json.
"""

from __future__ import annotations

import json

import torch

from app.workbench.figures import to_link
from decoder.media import write_mp4
from decoder.scoring.hide import thing_mask
from vjepa.config import preset
from vjepa.data.clips import BUNDLED, DEFAULT_FPS
from vjepa.world.physics import EVENT_NAMES, PhysicsWorld

SIDE, SEED = 224, 3119511124627235423
CLIPS = {
    "two_collide": (2, "two collide", 3),
    "box_passes": (14, "a box passes", 3),
    "rolling_ring": (31, "a ring moves on", 4),
    "thrown_capsule": (49, "a thrown capsule", 3),
    "up_the_ramp": (19, "up the ramp", 4),
    "behind_a_screen": (23, "behind a screen", 4),
}
"""By name: the clip's number, its title, and the time step from which its thing is hidden."""
LICENCE = "Apache-2.0, drawn by this project"


def bundle(number: int, title: str, start: int, name: str) -> dict:
    """Draws one clip, and returns its entry."""
    config = preset("physics")
    large = PhysicsWorld(SIDE, config.num_frames, split="test").frames((SEED, number))
    write_mp4(BUNDLED / f"{name}.mp4", large, DEFAULT_FPS)
    drawn = PhysicsWorld(config.image_size, config.num_frames, split="test").clip((SEED, number))
    mask = thing_mask(torch.from_numpy(drawn["segmentation"] == 1), config, start)
    middle = (start + config.grid[0]) * config.tubelet_size // 2
    shown = {"mask": to_link(mask.numpy()), "frame": middle}
    labels = {"event": EVENT_NAMES[drawn["event"]]}
    return {"title": title, **shown, "licence": LICENCE, "labels": labels}


def main() -> None:
    """Writes clips and entries, these before those of real clips."""
    path = BUNDLED / "clips.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    drawn = {name: bundle(*given, name) for name, given in CLIPS.items()}
    rest = {name: entry for name, entry in told.items() if name not in drawn}
    text = json.dumps(drawn | rest, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
