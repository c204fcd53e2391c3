"""The physics world: what physics promises, what the labels say, what is held out."""

import numpy as np
import pytest
import torch

from vjepa.errors import InputError
from vjepa.world import physics_gl
from vjepa.world.physics import EVENT_NAMES, SHAPE_NAMES, PhysicsWorld, collate
from vjepa.world.physics_events import GRAVITY
from vjepa.world.physics_model import FPS, simulate
from vjepa.world.physics_render import project
from vjepa.world.physics_scene import TEST_SLICES, PhysicsDice, draw_look
from vjepa.world.physics_things import COLOURS, EXTENTS, held_out, meshes, reach

SIDE, FRAMES = 56, 16
WORLD = PhysicsWorld(SIDE, FRAMES)


@pytest.fixture(scope="module")
def played():
    return {name: WORLD.play(0, name) for name in EVENT_NAMES}


@pytest.fixture(scope="module")
def clips():
    return {name: WORLD.clip(0, name) for name in ("move_left", "hide", "rest", "collide")}


def actor(course):
    return course.places[:, 0]


def test_there_are_ten_events_that_one_frame_does_not_tell():
    assert len(EVENT_NAMES) >= 10


@pytest.mark.parametrize(
    ("forth", "back", "axis"),
    [("move_right", "move_left", 0), ("go_away", "come_closer", 1), ("ramp_up", "ramp_down", 2)],
)
def test_a_pair_of_events_goes_in_opposite_directions(played, forth, back, axis):
    way = [np.diff(actor(played[name][2])[[0, -1], axis])[0] for name in (forth, back)]
    assert way[0] > 0.3 and way[1] < -0.3


def test_nothing_in_the_air_falls_slower_or_faster_than_gravity_lets_it(played):
    height = actor(played["throw_left"][2])[:6, 2]
    acceleration = np.diff(height, 2) * FPS**2
    assert np.allclose(acceleration, -GRAVITY, rtol=0.02)


def test_no_thing_sinks_into_the_floor(played):
    for scene, _, course in played.values():
        for index, thing in enumerate(scene.things):
            for place, turn in zip(course.places[:, index], course.turns[:, index], strict=True):
                bottom = place[2] - reach(thing.shape_name, thing.size, tuple(turn), (0, 0, -1))
                assert bottom > -0.15, EVENT_NAMES[scene.event]


def test_what_stops_has_stopped_and_what_rests_rests(played):
    stop, rest = (actor(played[name][2]) for name in ("stop", "rest"))
    assert np.abs(np.diff(stop[[0, 3], 0])) > 0.5 and np.abs(stop[-1] - stop[-2]).max() < 0.02
    assert np.abs(rest - rest[0]).max() < 0.05


def test_a_collision_hands_the_motion_on(played):
    places = played["collide"][2].places
    assert (
        np.abs(places[4, 1] - places[0, 1]).max() < 0.3 < np.abs(places[-1, 1] - places[0, 1]).max()
    )


@pytest.mark.parametrize(("event", "back"), [("rebound_left", -1), ("rebound_right", 1)])
def test_a_wall_throws_back_what_runs_into_it_and_nothing_passes_it(event, back):
    for seed in range(4):
        scene, _, course = WORLD.play(seed, event)
        way, wall = back * actor(course)[:, 0], back * scene.blocks[0].position[0]
        turned = way.argmin()
        assert 0 < turned < len(way) - 1 and min(way[0], way[-1]) > way[turned] + 0.5
        assert (way > wall).all()


def test_an_event_asked_for_is_the_one_that_the_seed_would_have_drawn():
    scene, _, course = WORLD.play(5)
    again = WORLD.play(5, EVENT_NAMES[scene.event])[2]
    assert np.array_equal(course.states, again.states)


def test_bystanders_stand_still():
    for seed in range(12):
        scene, _, course = WORLD.play(seed)
        first = 2 if EVENT_NAMES[scene.event] == "collide" else 1
        assert (np.abs(np.diff(course.places[:, first:], axis=0)) < 0.06).all()


def test_the_same_scene_always_takes_the_same_course(played):
    scene, model, course = played["topple"]
    assert np.array_equal(simulate(scene, model, FRAMES).states, course.states)


def test_the_same_generator_state_gives_the_same_clips():
    first, again, other = (
        WORLD.sample(2, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.segmentation, again.segmentation)
    assert not torch.equal(first.frames, other.frames)


def test_clips_with_and_without_labels_are_the_same_pictures(clips):
    assert np.array_equal(WORLD.frames(0, "rest"), clips["rest"]["frames"])


def test_boxes_lie_around_the_pixels_that_show_and_inside_the_whole_thing(clips):
    for clip in clips.values():
        for index in range(2):
            shows = clip["segmentation"] == index + 1
            for mask, box, whole in zip(
                shows, clip["boxes"][:, index], clip["amodal_boxes"][:, index], strict=True
            ):
                x0, y0, x1, y1 = box.astype(int)
                inside = np.zeros_like(mask)
                inside[y0:y1, x0:x1] = True
                assert not (mask & ~inside).any()
                assert not mask.any() or (whole[:2] - 2 < box[:2]).all()
                assert not mask.any() or (box[2:] < whole[2:] + 2).all()


def test_behind_the_screen_the_thing_has_no_pixels_but_a_whole_box(clips):
    hide = clips["hide"]
    area = (hide["segmentation"] == 1).sum((1, 2))
    assert area.min() < 0.3 * area.max()
    whole = hide["amodal_boxes"][:, 0]
    assert ((whole[:, 2:] - whole[:, :2]) > 4).all()


def test_the_nearer_of_two_things_is_in_front():
    scene, _, course = WORLD.play(0, "rest")
    depth = project(course.places[0], scene.camera, 0)[:, 2]
    farther = project(course.places[0] + [0, 1, 0], scene.camera, 0)[:, 2]
    assert (farther > depth + 0.8).all()


def test_segmentation_is_of_the_colour_that_the_label_says(clips):
    clip = clips["rest"]
    pixels = clip["frames"][clip["segmentation"] == 1].mean(0) / 255
    wanted = np.array(list(COLOURS.values()))
    direction = (wanted - wanted.mean(1, keepdims=True)) @ (pixels - pixels.mean())
    direction /= np.linalg.norm(wanted - wanted.mean(1, keepdims=True), axis=1)
    assert int(clip["colour"]) in np.argsort(direction)[-3:]


def test_training_never_draws_what_is_held_out():
    train, test = (PhysicsDice(0, split) for split in ("train", "test"))
    looks = [draw_look(train) for _ in range(300)]
    assert not any(held_out(*look) for look in looks)
    held = np.mean([held_out(*draw_look(test)) for _ in range(300)])
    assert held > 0.4
    slices = [{int(10 * dice.held(0, 1)) for _ in range(300)} for dice in (train, test)]
    assert slices[1] == set(TEST_SLICES) and not slices[0] & slices[1]


def test_one_pairing_in_five_is_held_out_and_none_of_a_shape_altogether():
    pairs = np.array(
        [[held_out(s, c) for c in range(len(COLOURS))] for s in range(len(SHAPE_NAMES))]
    )
    assert abs(pairs.mean() - 0.2) < 0.03
    assert pairs.any(1).all() and not pairs.all(1).any()


def test_meshes_are_closed_and_point_outward():
    for name, (corners, triangles) in meshes().items():
        a, b, c = (corners[triangles[:, i]] * EXTENTS[name] for i in range(3))
        normals = np.cross(b - a, c - a)
        assert np.allclose(normals.sum(0), 0, atol=1e-9), name  # closed
        assert (a * normals).sum() > 0, name  # its volume is positive


def test_a_shorter_clip_is_the_beginning_of_a_longer_one(clips):
    asked = (0, "move_left")
    assert np.array_equal(PhysicsWorld(SIDE, 4).frames(*asked), clips["move_left"]["frames"][:4])
    longer = PhysicsWorld(SIDE, 18).frames(*asked)
    assert np.array_equal(longer[:FRAMES], clips["move_left"]["frames"])


def test_all_arrays_of_a_batch_have_the_same_clips(clips):
    batch = collate([clips["rest"], clips["move_left"]])
    assert {len(value) for value in vars(batch).values()} == {2}


def test_static_is_new_in_every_frame_and_on_floor_and_walls_alone(clips):
    asked, plain = (0, "move_left"), clips["move_left"]
    faint, strong = (
        PhysicsWorld(SIDE, FRAMES, static=share).frames(*asked) for share in (0.2, 0.5)
    )
    things = plain["segmentation"] > 0
    assert np.array_equal(faint[things], plain["frames"][things])
    change = [
        np.abs(np.diff(f.astype(int), axis=0)).mean() for f in (plain["frames"], faint, strong)
    ]
    assert change[0] + 5 < change[1] < change[2] - 5
    mixed = 0.8 * plain["frames"].astype(float) + 0.2 * (strong - 0.5 * plain["frames"]) / 0.5
    room = (strong != plain["frames"]).any(-1)
    assert room.mean() > 0.5 and np.abs(mixed - faint)[room].max() < 2.5  # the same noise, rounded
    assert np.array_equal(PhysicsWorld(SIDE, FRAMES, static=0.5).clip(*asked)["frames"], strong)


def test_bad_input_gets_a_sentence():
    with pytest.raises(InputError, match="share from 0 to 1"):
        PhysicsWorld(static=1.5)
    with pytest.raises(InputError, match="'train' or 'test'"):
        PhysicsWorld(split="validation")
    with pytest.raises(InputError, match="8 to"):
        PhysicsWorld(image_size=4096)
    with pytest.raises(InputError, match="no event 'fly'"):
        WORLD.clip(0, "fly")
    with pytest.raises(InputError, match="at least one"):
        WORLD.sample(0, torch.Generator())


def test_a_machine_without_opengl_is_told_what_is_missing(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(physics_gl.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(InputError, match="libegl1"):
        physics_gl.open_context.__wrapped__()


def test_a_machine_without_mujoco_is_told_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(physics_gl, "import_module", missing)
    with pytest.raises(InputError, match="pip install"):
        physics_gl.load_mujoco.__wrapped__()
