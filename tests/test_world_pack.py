"""The pack of the drawn world: test clips stay as they are, training has more drawings."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from vjepa.world.drawing import PACK, load_pack, pack_index
from vjepa.world.scene import Dice, pick_cell
from vjepa.world.world import CATEGORIES, LEVELS, World

# Of clips as they were before training had more than one drawing of a thing.
PICTURES = "392193732b0861e6"
CHOICES = "182c688f4775fc8f"
FRAMES = (
    "5a5000a1d486056f",
    "60d5864ed6830fd6",
    "0e0b35f6113e0e11",
    "063e0edb1b29d6dd",
    "bccd118f2779352d",
)
# The same thing in another pose, sex, colour, age or number.
ALIKE = """
    🐶🐕🦮🐩 🐱🐈 🐷🐖 🐰🐇 🐯🐅 🐮🐄🐂 🐴🐎 🐭🐁 🐵🐒 🐣🐤🐥 🍎🍏 🌹🥀 🌳🪾 🍀☘ 🚌🚍🚎 ✈🛫🛬
    🛳⛴🚢 ⚒🛠 📏📐
""".split()
SIDE, SHORT = 64, 6


def digest(data) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def further():
    """The index entries of all further drawings."""
    return [more for entry in pack_index()["categories"].values() for more in entry["drawings"]]


def test_held_out_pictures_are_as_they_were():
    objects = load_pack("test", "cpu")[0]
    cells = (objects.atlas.strips[0] * 255).round().to(torch.uint8)
    assert digest(cells.numpy().tobytes() + "".join(objects.names).encode()) == PICTURES
    assert (objects.drawings == 1).all()


def test_held_out_clips_show_what_they_showed():
    world = World(4, SIDE, SHORT, "test")
    scene = world.draw(240, seeded())
    shown = "".join(world.stage.objects.names[i] for i in scene.identity)
    places = torch.cat([scene.motion, scene.view.picture, scene.post.cell, scene.prop.cell])
    assert digest(places.numpy().tobytes() + shown.encode()) == CHOICES


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="other processors may round a pixel otherwise",
)
@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_held_out_clips_are_the_same_bytes(level):
    frames = World(level, SIDE, SHORT, "test").sample(12, seeded()).frames
    assert digest(frames.numpy().tobytes()) == FRAMES[level]


def test_a_held_out_thing_is_in_no_drawing_of_training():
    entries = [*pack_index()["categories"].values(), pack_index()["props"]]
    held_out = {entry["identities"][i] for entry in entries for i in entry["test"]}
    assert held_out == set(load_pack("test", "cpu")[0].names)
    assert not held_out & set(load_pack("train", "cpu")[0].names)


def test_what_is_like_a_held_out_thing_has_no_further_drawing():
    entries = pack_index()["categories"].values()
    held_out = {entry["identities"][i] for entry in entries for i in entry["test"]}
    close = {thing for group in ALIKE if held_out & set(group) for thing in group}
    assert len(close) > 20
    assert not close & {thing for more in further() for thing in more["identities"]}


def test_a_thing_is_of_one_kind():
    kinds = {}
    objects = load_pack("train", "cpu")[0]
    for name, kind in zip(objects.names, objects.category.tolist(), strict=True):
        assert kinds.setdefault(name, kind) == kind
    assert len(kinds) == len(objects.things) == len(objects.drawings)


@pytest.mark.parametrize("more", further(), ids=lambda more: more["file"])
def test_every_drawing_fills_its_cell(more):
    assert len(set(more["identities"])) == len(more["identities"])
    cell = pack_index()["cell"]
    strip = Image.open(PACK / more["file"])
    assert strip.mode == "RGBA" and strip.size == (cell * len(more["identities"]), cell)
    for i, thing in enumerate(more["identities"]):
        alpha = np.asarray(strip.crop((cell * i, 0, cell * (i + 1), cell)))[..., 3]
        rows, columns = (np.flatnonzero((alpha > 8).any(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) > cell - 8, thing
        assert 0.04 < (alpha > 127).mean() < 1, thing


def test_things_are_drawn_equally_often_and_so_are_the_drawings_of_one():
    stage = World(0, SIDE, SHORT).stage
    mammals = torch.full((40_000,), CATEGORIES.index("mammal"))
    cells = pick_cell(Dice(seeded(), stage.device), stage, mammals)
    assert (stage.objects.category[cells] == mammals).all()
    things = Counter(stage.objects.names[i] for i in cells)
    mean = len(mammals) / len(things)
    assert all(abs(count - mean) < 5 * mean**0.5 for count in things.values())
    monkey = [i for i, name in enumerate(stage.objects.names) if name == "🐒"]
    shares = [(cells == i).float().mean().item() * len(mammals) / things["🐒"] for i in monkey]
    assert len(monkey) == 6
    assert max(shares) < 1.35 / len(monkey) and min(shares) > 0.65 / len(monkey)
