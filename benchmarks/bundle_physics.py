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
from vjepa.world.physics import PhysicsWorld

SIDE, SEED = 224, 3119511124627235423
CLIPS = {
    "two_collide": (2, "collide", "two collide", 3),
    "box_passes": (14, "move_left", "a box passes", 3),
    "rolling_ring": (31, "move_left", "a ring moves on", 4),
    "thrown_capsule": (49, "throw_left", "a thrown capsule", 3),
    "up_the_ramp": (19, "ramp_up", "up the ramp", 4),
    "behind_a_screen": (23, "hide", "behind a screen", 4),
}
"""By name: number, event, title, and the time step from which the clip's thing is hidden."""
LICENCE = "Apache-2.0, drawn by this project"


def bundle(number: int, event: str, title: str, start: int, name: str) -> dict:
    """Draws one clip, and returns its entry."""
    config = preset("physics")
    large, small = (
        PhysicsWorld(side, config.num_frames, split="test") for side in (SIDE, config.image_size)
    )
    write_mp4(BUNDLED / f"{name}.mp4", large.frames((SEED, number), event), DEFAULT_FPS)
    drawn = small.clip((SEED, number), event)
    mask = thing_mask(torch.from_numpy(drawn["segmentation"] == 1), config, start)
    middle = (start + config.grid[0]) * config.tubelet_size // 2
    shown = {"mask": to_link(mask.numpy()), "frame": middle}
    return {"title": title, **shown, "licence": LICENCE, "labels": {"event": event}}


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
