"""A scene as a MuJoCo model, and its course: where everything is in every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vjepa.world.physics_gl import WIDEST, load_mujoco
from vjepa.world.physics_scene import FIELD_OF_VIEW, Fixture, PhysicsScene, Room, Surface, Thing
from vjepa.world.physics_textures import CUBE, TILE, room_texture, thing_texture
from vjepa.world.physics_things import EXTENTS, MESHES, meshes, reach, rotation

FPS = 8
"""Frames a second."""
EVENT_FRAMES = 16
"""Frames that an event takes: a clip of fewer shows its beginning, one of more what comes after."""
STEPS = 64
"""Physics steps between frames: 1.95 ms each."""
STIFFNESS = 90.0
"""Radians a second: how fast a contact answers, hence how little things sink into each other."""
SHADOW = 768
"""Side of the shadow map."""
SUN = 24.0
"""Units from the middle of the room to the light."""
FLOOR_TILE = 4.0
"""Units that a floor's or wall's texture covers."""
WEDGE = (
    [(-1, -1, 0), (1, -1, 0), (1, -1, 1), (-1, 1, 0), (1, 1, 0), (1, 1, 1)],
    [(0, 1, 2), (3, 5, 4), (0, 4, 1), (0, 3, 4), (1, 4, 5), (1, 5, 2), (0, 2, 5), (0, 5, 3)],
)


@dataclass(frozen=True)
class Course:
    """What became of a scene.

    Attributes:
        states: MuJoCo's positions of all joints.
        places: middle of every thing.
        turns: quaternion of every thing.
    """

    states: Float[np.ndarray, "t q"]
    places: Float[np.ndarray, "t k 3"]
    turns: Float[np.ndarray, "t k 4"]

    def first(self, frames: int) -> Course:
        """The beginning."""
        return Course(self.states[:frames], self.places[:frames], self.turns[:frames])


def compile_scene(scene: PhysicsScene):
    """The scene as a `mujoco.MjModel`; things are its bodies 1 to k, in the scene's order."""
    model = load_mujoco().MjModel.from_xml_string(_document(scene))
    room, wall = scene.room, scene.room.wall
    pictures = [_room_picture(room.floor), _room_picture(wall)]
    pictures += [_thing_picture(thing.material) for thing in scene.things]
    for index, picture in enumerate(pictures):
        start = model.tex_adr[index]
        model.tex_data[start : start + picture.size] = picture.ravel()
    return model


def simulate(scene: PhysicsScene, model, frames: int) -> Course:
    """Lets physics run from the scene's start, and notes what each frame shows."""
    mujoco = load_mujoco()
    data = mujoco.MjData(model)
    for index, thing in enumerate(scene.things):
        _start(model, data, index, thing)
    mujoco.mj_forward(model, data)
    bodies = slice(1, 1 + len(scene.things))
    notes = []
    for frame in range(frames):
        if frame:
            mujoco.mj_step(model, data, STEPS)
            mujoco.mj_kinematics(model, data)
        notes.append((data.qpos.copy(), data.xpos[bodies].copy(), data.xquat[bodies].copy()))
    return Course(*map(np.stack, zip(*notes, strict=True)))


def _start(model, data, index: int, thing: Thing) -> None:
    """The first speed of a thing; its place is the model's own."""
    first = model.body_dofadr[index + 1]
    if thing.pivot is None:
        data.qvel[first : first + 3] = thing.velocity
        # A free joint turns about the body's own axes.
        data.qvel[first + 3 : first + 6] = rotation(thing.turn).T @ np.array(thing.spin)
    else:
        arm = np.array(thing.position) - np.array(thing.pivot)
        data.qvel[first] = np.cross(arm, thing.velocity)[1] / (arm @ arm)


def _room_picture(material: Surface):
    return room_texture(material.pattern, material.tones, int(material.scale), material.phase)


def _thing_picture(material: Surface):
    return thing_texture(material.pattern, material.tones, material.scale, material.phase)


def _numbers(values) -> str:
    return " ".join(f"{value:.7g}" for value in np.ravel(values))


def _document(scene: PhysicsScene) -> str:
    """MJCF of the scene, with blank textures."""
    things = list(enumerate(scene.things))
    blocks = list(enumerate(scene.blocks))
    assets = _room_assets(scene.room)
    assets += "".join(_thing_assets(i, thing) for i, thing in things)
    assets += "".join(_wedge_mesh(i, block) for i, block in blocks if block.kind == "wedge")
    bodies = _room_geoms(scene.room)
    bodies += "".join(_thing_body(i, thing) for i, thing in things)
    bodies += "".join(_block_geom(i, block) for i, block in blocks)
    return f"""<mujoco>
      <option timestep="{1 / (FPS * STEPS)}" integrator="implicitfast"/>
      <statistic center="0 0 1.5" extent="8"/>
      <visual>
        <global offwidth="{WIDEST}" offheight="{WIDEST}" fovy="{FIELD_OF_VIEW}"/>
        <quality shadowsize="{SHADOW}" offsamples="0"/>
        <headlight ambient=".41 .41 .41" diffuse=".15 .15 .15" specular="0 0 0"/>
        <map znear=".2" zfar="10" shadowscale="1"/>
      </visual>
      <default><geom solref="{_contact(0.7)}" condim="4"/></default>
      <asset>{assets}</asset><worldbody>{_sun(scene.room)}{bodies}</worldbody></mujoco>"""


def _contact(damping: float) -> str:
    """MuJoCo's time constant and damping ratio of a contact as stiff as STIFFNESS."""
    return f"{1 / (damping * STIFFNESS):.5f} {damping:.4f}"


def _sun(room: Room) -> str:
    """A spotlight that shines, and casts shadows, on all that is seen.

    Where its shadow map ends, specks of shadow lie on walls and floor: it ends out of sight.
    """
    direction = np.array(room.sun) / np.linalg.norm(room.sun)
    bright = _numbers([room.brightness] * 3)
    return (
        f'<light cutoff="45" exponent="0" dir="{_numbers(direction)}" '
        f'pos="{_numbers([0, 0, 1.5] - SUN * direction)}" diffuse="{bright}" specular=".3 .3 .3"/>'
    )


def _room_assets(room: Room) -> str:
    tile = f'type="2d" builtin="flat" width="{TILE}" height="{TILE}"'
    repeat = f'texuniform="true" texrepeat="{1 / FLOOR_TILE} {1 / FLOOR_TILE}" specular="0"'
    return (
        "".join(
            f'<texture name="{name}" {tile}/><material name="{name}" texture="{name}" {repeat}/>'
            for name in ("floor", "wall")
        )
        + f'<material name="block" rgba="{_numbers(room.block)} 1" specular=".1"/>'
    )


def _room_geoms(room: Room) -> str:
    """A floor, the wall behind and perhaps one at a side: slabs whose z points into the room."""
    slab = '<geom type="box" size="40 40 .5" material="wall" pos='
    geoms = '<geom type="plane" size="40 40 1" material="floor"/>'
    geoms += f'{slab}"0 {room.back + 0.5} 0" xyaxes="1 0 0 0 0 1"/>'
    if room.side is not None:
        outside = room.side + 0.5 * np.sign(room.side)
        geoms += f'{slab}"{outside} 0 0" xyaxes="0 {-np.sign(room.side)} 0 0 0 1"/>'
    return geoms


def _thing_assets(index: int, thing: Thing) -> str:
    cube = f'type="cube" builtin="flat" width="{CUBE}" height="{6 * CUBE}"'
    assets = (
        f'<texture name="thing{index}" {cube}/><material name="thing{index}" '
        f'texture="thing{index}" specular=".4" shininess=".6" emission=".12"/>'
    )
    if thing.shape_name in MESHES:
        corners, triangles = meshes()[thing.shape_name]
        corners = corners * np.array(EXTENTS[thing.shape_name]) * thing.size
        assets += (
            f'<mesh name="thing{index}" inertia="exact" vertex="{_numbers(corners)}" '
            f'face="{" ".join(map(str, triangles.ravel()))}"/>'
        )
    return assets


def _thing_body(index: int, thing: Thing) -> str:
    joint, rod = "<freejoint/>", ""
    if thing.pivot is not None:
        joint, rod = _hung(thing)
    return (
        f'<body pos="{_numbers(thing.position)}" quat="{_numbers(thing.turn)}">{joint}'
        f'<geom name="thing{index}" material="thing{index}" {_form(index, thing)} priority="1" '
        f'friction="{thing.friction:.5f} .003 .0001" solref="{_contact(thing.damping)}"/>'
        f"{rod}</body>"
    )


def _form(index: int, thing: Thing) -> str:
    """Type and size of a thing's geom."""
    shape = thing.shape_name
    if shape in MESHES:
        return f'type="mesh" mesh="thing{index}"'
    x, y, z = np.array(EXTENTS[shape]) * thing.size
    sizes = {"sphere": [x], "cylinder": [x, z], "capsule": [x, z - x]}
    return f'type="{shape}" size="{_numbers(sizes.get(shape, [x, y, z]))}"'


def _hung(thing: Thing) -> tuple[str, str]:
    """The hinge that a pendulum turns on, and its rod, in the thing's own axes."""
    inward = rotation(thing.turn).T
    pivot = inward @ (np.array(thing.pivot) - np.array(thing.position))
    joint = f'<joint type="hinge" axis="0 1 0" pos="{_numbers(pivot)}" damping="1"/>'
    top = (
        pivot / np.linalg.norm(pivot) * reach(thing.shape_name, thing.size, (1, 0, 0, 0), (0, 0, 1))
    )
    rod = (
        f'<geom type="capsule" size=".05" fromto="{_numbers(pivot)} {_numbers(0.9 * top)}" '
        'rgba=".25 .25 .28 1" contype="0" conaffinity="0" density="1"/>'
    )
    return joint, rod


def _wedge_mesh(index: int, block: Fixture) -> str:
    corners = np.array(WEDGE[0]) * np.array(block.size) * [0.5, 0.5, 1]
    faces = " ".join(map(str, np.ravel(WEDGE[1])))
    return f'<mesh name="wedge{index}" vertex="{_numbers(corners)}" face="{faces}"/>'


def _block_geom(index: int, block: Fixture) -> str:
    width, depth, height = block.size
    x, y, z = block.position
    turn = f'euler="0 0 {np.degrees(block.turn):.5f}"'
    if block.kind == "wedge":
        form = f'type="mesh" mesh="wedge{index}" pos="{_numbers([x, y, z])}"'
    else:
        size = _numbers([width / 2, depth / 2, height / 2])
        form = f'type="box" size="{size}" pos="{_numbers([x, y, z + height / 2])}"'
    return f'<geom {form} {turn} material="block"/>'
