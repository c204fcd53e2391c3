"""The demo world: labels, boxes, reversals, camera, held-out material."""

from dataclasses import replace

import pytest
import torch

from benchmarks.draw_world import contact_sheet
from vjepa.errors import InputError
from vjepa.world.scene import MOTIONS, REVERSED, Path, trace
from vjepa.world.world import CATEGORIES, LEVELS, World

SIDE, FRAMES = 64, 6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(level, split="train"):
    return World(level, image_size=SIDE, num_frames=FRAMES, split=split)


def hide_actor(scene):
    """The same scene with an actor too small to be drawn."""
    return replace(scene, path=replace(scene.path, size=torch.full_like(scene.path.size, 1e-6)))


def quiet(scene):
    return replace(scene, noise=torch.zeros_like(scene.noise))


def bounds(shape):
    """Box (x0, y0, x1, y1) of a bool picture, by a method of its own."""
    y, x = shape.nonzero(as_tuple=True)
    return torch.tensor([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_the_same_generator_state_gives_the_same_clips(level):
    world = small(level)
    first, again, other = (world.sample(3, seeded(seed)) for seed in (5, 5, 6))
    assert first.frames.shape == (3, FRAMES, SIDE, SIDE, 3) and first.frames.dtype == torch.uint8
    assert torch.equal(first.frames, again.frames) and torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.frames, other.frames)


def test_drawing_in_chunks_changes_nothing(monkeypatch):
    world = small(4)
    scene = world.draw(5, seeded())
    whole = world.render(scene)
    monkeypatch.setattr("vjepa.world.world.CACHED_CLIPS", 2)
    parts = world.render(scene)
    assert (whole.frames.int() - parts.frames.int()).abs().max() <= 1
    assert torch.allclose(whole.amodal_boxes, parts.amodal_boxes)


def test_the_splits_share_no_identity_and_no_backdrop():
    train, test = small(1).stage, small(1, "test").stage
    assert not set(train.objects.names) & set(test.objects.names)
    assert not set(train.backdrops.names) & set(test.backdrops.names)
    for stage in (train, test):
        assert set(stage.objects.category.tolist()) == {-1, *range(len(CATEGORIES))}


def test_every_identity_belongs_to_the_clip_s_category():
    world = small(0)
    scene = world.draw(240, seeded())
    assert torch.equal(world.stage.objects.category[scene.identity], scene.appearance)
    assert len(scene.identity.unique()) > 100


def test_labels_are_balanced_and_independent():
    batch = small(0).draw(240, seeded())
    for labels, classes in ((batch.appearance, CATEGORIES), (batch.motion, MOTIONS)):
        assert torch.bincount(labels, minlength=len(classes)).tolist() == [240 // len(classes)] * 12
    pairs = (batch.appearance * len(MOTIONS) + batch.motion).unique()
    assert len(pairs) > 90  # of 144; a label that follows from the other would leave 12


def test_boxes_hold_exactly_the_pixels_that_the_actor_changes():
    world = small(1)
    scene = world.draw(12, seeded(1))
    with_actor, without = world.render(scene), world.render(hide_actor(scene))
    changed = (with_actor.frames.int() - without.frames.int()).abs().amax(-1) > 24
    compared = 0
    for clip in range(12):
        for frame in range(FRAMES):
            if changed[clip, frame].sum() > 40:
                error = bounds(changed[clip, frame]) - with_actor.boxes[clip, frame]
                assert error.abs().max() <= 3, (clip, frame)
                compared += 1
    assert compared > 60


def test_the_actor_s_pixels_fill_its_box_and_are_those_that_change():
    world = small(1)
    scene = world.draw(12, seeded(1))
    batch, without = world.render(scene), world.render(hide_actor(scene))
    assert batch.actor.any() and not without.actor.any()
    changed = (batch.frames.int() - without.frames.int()).abs().amax(-1) > 24
    assert (changed & batch.actor).sum() > 0.7 * batch.actor.sum()  # some have the ground's colour
    assert (changed & ~batch.actor).sum() < 0.15 * changed.sum()  # soft edges
    shows = batch.boxes.any(-1)
    assert torch.equal(batch.actor.flatten(2).any(-1), shows)
    for pixels, box in zip(batch.actor[shows], batch.boxes[shows], strict=True):
        assert (bounds(pixels) - box).abs().max() <= 1.5


def test_an_actor_that_is_left_out_leaves_neither_pixels_nor_shadow():
    world = small(4)
    scene = world.draw(12, seeded())
    without = replace(scene, present=torch.zeros_like(scene.present))
    assert torch.equal(world.render(without).frames, world.render(hide_actor(scene)).frames)
    assert not world.render(without).boxes.any()


def test_the_visible_box_never_exceeds_the_amodal_box_or_the_frame():
    batch = small(4).sample(40, seeded())
    shows = batch.boxes.any(-1)
    inner, outer = batch.boxes[shows], batch.amodal_boxes[shows]
    assert (inner[:, :2] >= outer[:, :2]).all() and (inner[:, 2:] <= outer[:, 2:]).all()
    assert inner.min() >= 0 and inner.max() <= SIDE
    assert (inner[:, 2:] > inner[:, :2]).all()


def test_a_post_takes_away_from_the_visible_box_and_can_hide_it_all():
    world = small(4)
    scene = world.draw(8, seeded())
    post = replace(
        scene.post,
        x=scene.path.x,
        width=torch.full_like(scene.path.x, 3.0),
        present=torch.ones_like(scene.path.x),
    )
    open_, hidden = world.render(scene), world.render(replace(scene, post=post))
    assert open_.boxes.any() and not hidden.boxes.any()
    assert torch.equal(open_.amodal_boxes, hidden.amodal_boxes)


def test_posts_are_opaque():
    world = small(4)
    scene = quiet(world.draw(8, seeded()))
    post = replace(
        scene.post,
        width=torch.full_like(scene.path.x, 3.0),
        present=torch.ones_like(scene.path.x),
    )
    scene = replace(scene, post=post)
    assert torch.equal(world.render(scene).frames, world.render(hide_actor(scene)).frames)


@pytest.mark.parametrize("motion", range(10))
def test_opposite_motions_are_each_other_backwards_in_time(motion):
    world = small(0)
    scene = world.draw(4, seeded(motion))
    there = replace(scene, motion=torch.full((4,), motion))
    back = replace(scene, motion=torch.full((4,), REVERSED[motion]))
    forward, backward = world.render(there), world.render(back)
    difference = (forward.frames.int() - backward.frames.flip(1).int()).abs()
    assert difference.max() <= 1
    assert (forward.frames.int() - forward.frames.flip(1).int()).abs().max() > 20  # it does move


def course_of(name):
    middle = Path(*(torch.zeros(1) for _ in range(11)))
    ahead = {"size": 0.3, "reach": 0.1, "growth": 0.3, "turn": 3.0}
    path = replace(middle, **{key: torch.tensor([value]) for key, value in ahead.items()})
    course = trace(torch.tensor([MOTIONS.index(name)]), path, 16)
    return {key: value[0].diff() for key, value in vars(course).items()}


def test_motions_go_where_their_names_say():
    assert (course_of("move_left")["x"] < 0).all() and (course_of("move_right")["x"] > 0).all()
    assert (course_of("rise")["y"] < 0).all() and (course_of("fall")["y"] > 0).all()
    assert (course_of("approach")["size"] > 0).all() and (course_of("recede")["size"] < 0).all()
    assert (course_of("spin_cw")["angle"] > 0).all() and (course_of("spin_ccw")["angle"] < 0).all()
    assert not any(change.any() for change in course_of("still").values())
    orbit = trace(
        torch.tensor([MOTIONS.index("orbit_cw")]),
        replace(
            Path(*(torch.zeros(1) for _ in range(11))),
            reach=torch.ones(1),
            turn=torch.full((1,), 3.0),
        ),
        16,
    )
    x, y = orbit.x[0], orbit.y[0]
    assert (x[:-1] * y[1:] - y[:-1] * x[1:] > 0).all()  # clockwise, as y points down


def test_the_camera_carries_the_objects():
    world = small(2)
    scene = world.draw(12, seeded())
    still = replace(scene, motion=torch.full((12,), MOTIONS.index("still")))
    batch = world.render(still)
    middle = (batch.amodal_boxes[..., :2] + batch.amodal_boxes[..., 2:]) / 2 / SIDE
    moved = middle[:, -1] - middle[:, 0]
    camera = still.camera
    place = torch.stack(
        [
            (middle[..., 0] - 0.5) / camera.zoom + camera.x,
            (middle[..., 1] - 0.5) / camera.zoom + camera.y,
        ],
        -1,
    )
    assert moved.abs().max() > 0.15  # on the screen
    # In the scene an upright outline's middle stays put.
    assert (place - place[:, :1]).abs().max() < 1e-4


def test_the_camera_moves_the_backdrop_as_it_moves_the_objects():
    world = small(2)
    scene = world.draw(1, seeded(3))
    shift = 8 / SIDE
    pan = torch.zeros(1, FRAMES)
    pan[:, 1:] = shift  # the camera jumps eight pixels to the right
    camera = replace(scene.camera, x=pan, y=torch.zeros_like(pan), zoom=torch.ones_like(pan))
    view = replace(scene.view, width=scene.view.width.abs())
    motion = torch.tensor([MOTIONS.index("still")])
    frames = world.render(replace(scene, camera=camera, view=view, motion=motion)).frames[0].int()
    assert (frames[0, :, 8:] - frames[1, :, :-8]).abs().float().mean() < 0.5
    assert (frames[0] - frames[1]).abs().float().mean() > 3


def test_shadows_touch_what_stands_on_the_ground():
    world = small(4)
    scene = quiet(world.draw(24, seeded()))
    none = torch.zeros_like(scene.path.x)
    scene = replace(
        scene,
        motion=torch.full((24,), MOTIONS.index("still")),
        view=replace(scene.view, horizon=torch.full_like(none, -9.0)),
        post=replace(scene.post, present=none),
        prop=replace(scene.prop, present=none),
        path=replace(scene.path, y=none),
    )
    sunny = world.render(scene)
    dull = world.render(replace(scene, view=replace(scene.view, horizon=none + 9.0)))
    darker = (dull.frames.int() - sunny.frames.int()).amax(-1) > 8
    for clip in range(24):
        bottom = sunny.amodal_boxes[clip, 0, 3]
        if darker[clip, 0].sum() > 10 and bottom < SIDE:
            rows = darker[clip, 0].any(1).nonzero()[:, 0]
            assert rows.min() < bottom + 2 and rows.max() > bottom - 3


@pytest.mark.parametrize("level", [-1, len(LEVELS), "easy"])
def test_an_unknown_level_is_refused(level):
    with pytest.raises(InputError, match="level"):
        World(level)


def test_an_unknown_split_and_an_empty_batch_are_refused():
    with pytest.raises(InputError, match="split"):
        World(0, split="validation")
    with pytest.raises(InputError, match="at least one"):
        small(0).sample(0, seeded())


def test_a_contact_sheet_shows_every_clip():
    batch = small(0).sample(3, seeded())
    sheet = contact_sheet(batch, every=2, boxes=True)
    assert sheet.size[0] >= 3 * SIDE and sheet.size[1] >= 3 * SIDE
    first = sheet.crop((0, 13, SIDE, 13 + SIDE))
    assert len(first.getcolors(SIDE * SIDE)) > 50
