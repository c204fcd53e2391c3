"""Draws scenes with MuJoCo: pictures, and which pixels belong to which thing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from vjepa.world.physics_gl import WIDEST, load_mujoco, open_context
from vjepa.world.physics_model import EVENT_FRAMES, Course
from vjepa.world.physics_scene import FIELD_OF_VIEW, PhysicsCamera, PhysicsScene
from vjepa.world.physics_things import rotation, surface

SAMPLES = 2
"""Pictures are drawn this many times larger each way, and averaged."""
SPECKS = 28
"""Specks of static along a frame's side."""
LARGEST = WIDEST // SAMPLES
"""Side of the largest clip, in pixels."""


class Painter:
    """Draws one clip.

    Args:
        scene: what is to be seen.
        model: of the scene.
        course: of the scene.
        side: of the frames, pixels.
        static: share of what floor and walls show that is noise, new in every frame, 0..1.

    Raises:
        InputError: OpenGL is missing.
    """

    def __init__(
        self, scene: PhysicsScene, model, course: Course, side: int, static: float = 0.0
    ) -> None:
        mujoco = load_mujoco()
        open_context()
        self.scene, self.model, self.course, self.side = scene, model, course, side
        self.static = static
        self.data = mujoco.MjData(model)
        self.stage = mujoco.MjvScene(model, maxgeom=200)
        self.stage.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self.options = mujoco.MjvOption()
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self.context)

    def close(self) -> None:
        """Gives back what the clip took from OpenGL."""
        self.context.free()

    def pictures(self) -> UInt8[np.ndarray, "t side side 3"]:
        """RGB of every frame."""
        self._shade(True)
        large = self.side * SAMPLES
        frames = np.stack([shrink(self._draw(large)) for _ in self._frames()])
        return self._with_static(frames) if self.static else frames

    def _with_static(
        self, frames: UInt8[np.ndarray, "t side side 3"]
    ) -> UInt8[np.ndarray, "t side side 3"]:
        """Noise that nobody can foresee mixed into floor and walls, the same for the same scene."""
        self._shade(False)
        room = [self.model.material(name).id for name in ("floor", "wall")]
        shows = np.append(np.isin(self.model.geom_matid, room), False)
        random = np.random.default_rng((self.scene.room.floor.phase * 2**32).astype(np.uint64))
        place = np.arange(self.side) * SPECKS // self.side
        for frame, _ in enumerate(self._frames()):
            noise = random.integers(0, 256, (SPECKS, SPECKS, 3))[place][:, place]
            mixed = (1 - self.static) * frames[frame] + self.static * noise
            frames[frame] = np.where(shows[self._geoms()][..., None], mixed.round(), frames[frame])
        return frames

    def segmentation(self) -> UInt8[np.ndarray, "t side side"]:
        """What each pixel shows: 1 for the first thing and so on, 0 for anything else."""
        self._shade(False)
        geoms = [self.model.geom(f"thing{i}").id for i in range(len(self.scene.things))]
        label = np.zeros(self.model.ngeom + 1, np.uint8)
        label[geoms] = np.arange(1, len(geoms) + 1)
        return np.stack([label[self._geoms()] for _ in self._frames()])

    def _frames(self) -> Iterator[int]:
        """Sets the stage for one frame after the other."""
        mujoco = load_mujoco()
        for frame, state in enumerate(self.course.states):
            self.data.qpos[:] = state
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_camlight(self.model, self.data)
            mujoco.mjv_updateScene(
                self.model,
                self.data,
                self.options,
                None,
                self._camera(frame),
                mujoco.mjtCatBit.mjCAT_ALL.value,
                self.stage,
            )
            yield frame

    def _camera(self, frame: int):
        mujoco = load_mujoco()
        target, azimuth = aim(self.scene.camera, frame)
        camera = mujoco.MjvCamera()
        camera.lookat, camera.azimuth = target, azimuth
        camera.distance, camera.elevation = (
            self.scene.camera.distance,
            -self.scene.camera.elevation,
        )
        return camera

    def _shade(self, on: bool) -> None:
        """Switches from numbers of geoms to pictures, or back."""
        flags, names = self.stage.flags, load_mujoco().mjtRndFlag
        flags[names.mjRND_SHADOW] = on
        flags[names.mjRND_SEGMENT] = not on
        flags[names.mjRND_IDCOLOR] = not on

    def _draw(self, side: int) -> UInt8[np.ndarray, "s s 3"]:
        mujoco = load_mujoco()
        rectangle = mujoco.MjrRect(0, 0, side, side)
        picture = np.empty((side, side, 3), np.uint8)
        mujoco.mjr_render(rectangle, self.stage, self.context)
        mujoco.mjr_readPixels(picture, None, rectangle, self.context)
        return picture[::-1]  # OpenGL's rows begin at the bottom

    def _geoms(self):
        """Which geom each pixel shows, -1 for none: the stage numbers its own from 1."""
        numbers = self._draw(self.side).astype(np.int64) @ [1, 256, 65536]
        own = np.full(self.stage.ngeom + 1, -1)
        for geom in self.stage.geoms[: self.stage.ngeom]:
            own[geom.segid + 1] = geom.objid
        return own[numbers]


def shrink(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h/2 w/2 3"]:
    """Means of squares of SAMPLES x SAMPLES pixels."""
    total = np.zeros([length // SAMPLES for length in picture.shape[:2]] + [3], np.uint16)
    for row in range(SAMPLES):
        for column in range(SAMPLES):
            total += picture[row::SAMPLES, column::SAMPLES]
    return ((total + SAMPLES**2 // 2) // SAMPLES**2).astype(np.uint8)


def aim(camera: PhysicsCamera, frame: int) -> tuple[Float[np.ndarray, " 3"], float]:
    """The camera's target and azimuth in a frame."""
    share = frame / (EVENT_FRAMES - 1)
    first, last = map(np.array, camera.target)
    azimuth = camera.azimuth[0] + share * (camera.azimuth[1] - camera.azimuth[0])
    return first + share * (last - first), azimuth


def project(
    points: Float[np.ndarray, "*p 3"], camera: PhysicsCamera, frame: int
) -> Float[np.ndarray, "*p 3"]:
    """Where points of the world are seen.

    Returns:
        x and y in frame sides from the upper left corner, and the distance along the line of sight.
    """
    target, azimuth = aim(camera, frame)
    a, e = np.radians(azimuth), np.radians(-camera.elevation)
    forward = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([np.sin(a), -np.cos(a), 0.0])
    down = np.cross(forward, right)
    offset = points - (target - camera.distance * forward)
    depth = offset @ forward
    scale = 2 * np.tan(np.radians(FIELD_OF_VIEW) / 2) * np.maximum(depth, 0.1)
    return np.stack([0.5 + offset @ right / scale, 0.5 + offset @ down / scale, depth], -1)


def amodal_boxes(scene: PhysicsScene, course: Course) -> Float[np.ndarray, "t k 4"]:
    """Boxes around whole things, also behind others and beyond the frame, in frame sides."""
    frames = len(course.places)
    boxes = np.empty((frames, len(scene.things), 4))
    for index, thing in enumerate(scene.things):
        points = surface(thing.shape_name) * thing.size
        turned = points @ rotation(course.turns[:, index]).transpose(0, 2, 1)
        turned = turned + course.places[:, index, None]
        for frame in range(frames):
            seen = project(turned[frame], scene.camera, frame)[:, :2]
            boxes[frame, index] = *seen.min(0), *seen.max(0)
    return boxes
