"""The demo world: cut-out objects acting in front of real panoramas, drawn while you train.

Every clip has one actor. Its kind is the label `appearance`, the way it moves is the label
`motion`. What else is in the scene (props, posts in front) never acts, and the camera carries all
of it. Clips of the test split use identities and backdrops that the train split never shows.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from vjepa.errors import InputError
from vjepa.world import drawing
from vjepa.world.drawing import Sprites, boxes_of, draw_backdrop, draw_gradient, draw_sprites
from vjepa.world.scene import (
    MOTIONS,
    NOISE_STARTS,
    Scene,
    Stage,
    Trace,
    draw_scene,
    take_rows,
    trace,
)

CATEGORIES = tuple(drawing.pack_index()["categories"])
LEVELS = (
    "plain gradients, one large object",
    "photo backdrop, static camera, one object",
    "panorama with camera motion, one object",
    "camera motion and a distractor",
    "camera motion, distractor, posts in front, shadows, sensor noise",
)
SPLITS = ("train", "test")
CACHED_CLIPS = 8  # drawn at once on a CPU: more of them fall out of its cache and take longer

__all__ = ["CATEGORIES", "LEVELS", "MOTIONS", "Scene", "World", "WorldBatch"]


@dataclass(frozen=True)
class WorldBatch:
    """A batch of labelled clips.

    Attributes:
        frames: RGB 0..255.
        appearance: index into CATEGORIES.
        motion: index into MOTIONS.
        boxes: the part of the actor that shows, x0 y0 x1 y1 in pixels; zeros where none does.
        amodal_boxes: the whole actor, also behind posts and beyond the frame (and where it would
            be in a scene without it).
        actor: the pixels where the actor shows.
    """

    frames: UInt8[Tensor, "b t h w 3"]
    appearance: Int[Tensor, " b"]
    motion: Int[Tensor, " b"]
    boxes: Float[Tensor, "b t 4"]
    amodal_boxes: Float[Tensor, "b t 4"]
    actor: Bool[Tensor, "b t h w"]


class World:
    """An endless source of labelled clips at one difficulty.

    Args:
        level: difficulty, an index into LEVELS.
        image_size: side of the square frames in pixels.
        num_frames: frames of a clip.
        split: "train" or "test"; they share no identity and no backdrop.
        device: where the clips are drawn.

    Raises:
        InputError: when the level or the split does not exist.
    """

    def __init__(self, level=4, image_size=112, num_frames=16, split="train", device="cpu"):
        if level not in range(len(LEVELS)):
            raise InputError(f"World level {level!r} does not exist; use 0 to {len(LEVELS) - 1}.")
        if split not in SPLITS:
            raise InputError(f"World split {split!r} does not exist; use 'train' or 'test'.")
        self.level, self.split = level, split
        self.image_size, self.num_frames = image_size, num_frames
        self.device = torch.device(device)
        pack = drawing.load_pack(split, str(self.device))
        self.stage = Stage(level, image_size, num_frames, self.device, *pack)
        bank = NOISE_STARTS + image_size**2
        fixed = torch.Generator().manual_seed(0)
        self.noise = torch.randn(bank, generator=fixed).to(self.device)

    def sample(self, n: int, generator: torch.Generator) -> WorldBatch:
        """Draws n clips with balanced labels; the same generator state gives the same clips.

        Raises:
            InputError: when n is not positive.
        """
        if n < 1:
            raise InputError(f"A world batch of {n} clips cannot be drawn; ask for at least one.")
        return self.render(self.draw(n, generator))

    def draw(self, n: int, generator: torch.Generator) -> Scene:
        """The random numbers of n clips, to be rendered as they are or with some replaced."""
        return draw_scene(self.stage, n, generator)

    @torch.no_grad()
    def render(self, scene: Scene) -> WorldBatch:
        """Draws the clips of a scene."""
        clips = len(scene.motion)
        chunk = CACHED_CLIPS if self.device.type == "cpu" else clips
        starts = range(0, clips, chunk)
        parts = [self._render(take_rows(scene, slice(start, start + chunk))) for start in starts]
        columns = ([getattr(part, field.name) for part in parts] for field in fields(WorldBatch))
        return WorldBatch(*map(torch.cat, columns))

    def _render(self, scene: Scene) -> WorldBatch:
        side, frames = self.image_size, self.num_frames
        course = trace(scene.motion, scene.path, frames)
        canvas = self._backdrop(scene)
        canvas[3] = 0
        if self.level >= 3:
            self._draw_prop(canvas, scene)
        if self.level >= 4:
            self._draw_shadow(canvas, scene, course)
        actor = self._on_screen(scene, scene.identity, scene.flip, course)
        actor.opacity.mul_(scene.present.repeat_interleave(frames))
        draw_sprites(canvas, self.stage.objects.atlas, actor, actor=True)
        if self.level >= 4:
            self._draw_post(canvas, scene)
            self._add_noise(canvas, scene)
        shape = (len(scene.motion), frames)
        amodal = self._amodal(actor)
        shows = canvas[3] > 0.5
        visible = self._visible(shows, amodal)
        frames = self._expose(canvas[:3], scene)
        return WorldBatch(
            frames.permute(1, 2, 3, 0).contiguous().view(*shape, side, side, 3),
            scene.appearance,
            scene.motion,
            visible.view(*shape, 4),
            amodal.view(*shape, 4),
            shows.view(*shape, side, side),
        )

    def _backdrop(self, scene: Scene) -> Tensor:
        """A canvas (4, clips x frames, side, side) with what lies behind everything."""
        clips, frames, side = len(scene.motion), self.num_frames, self.image_size
        drawn = frames if self.level >= 2 else 1  # a static camera sees one view
        canvas = torch.empty(4, clips * drawn, side, side, device=self.device)
        if self.level == 0:
            draw_gradient(canvas, scene.colours, scene.ramp)
        else:
            view, camera = scene.view, scene.camera
            x = view.x[:, None] + view.width[:, None] * camera.x[:, :drawn]
            y = view.y[:, None] + view.width.abs()[:, None] * camera.y[:, :drawn]
            width = view.width[:, None] / camera.zoom[:, :drawn]
            picture = view.picture[:, None].expand_as(x)
            flat = (value.flatten() for value in (picture, x, y, width))
            draw_backdrop(canvas, self.stage.backdrops, *flat)
        return canvas if drawn == frames else canvas.repeat_interleave(frames, dim=1)

    def _to_screen(self, scene: Scene, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels of places (B, T) in the scene, and pixels per frame side there."""
        camera, side = scene.camera, self.image_size
        scale = camera.zoom * side
        return (x - camera.x) * scale + side / 2, (y - camera.y) * scale + side / 2, scale

    def _on_screen(self, scene: Scene, cell: Tensor, flip: Tensor, course: Trace) -> Sprites:
        """A cut-out that follows a course, one sprite a frame."""
        x, y, scale = self._to_screen(scene, course.x, course.y)
        width = course.size * scale
        cell = cell[:, None].expand_as(x)
        parts = (cell, x, y, width * flip[:, None], width, course.angle, torch.ones_like(x))
        return Sprites(*(part.flatten() for part in parts))

    def _draw_prop(self, canvas: Tensor, scene: Scene):
        prop = scene.prop
        course = [v[:, None].expand_as(scene.camera.x) for v in (prop.x, prop.y, prop.size)]
        still = torch.zeros_like(course[0])
        layer = self._on_screen(scene, prop.cell, prop.flip, Trace(*course, still, still))
        layer.opacity.mul_(prop.present.repeat_interleave(self.num_frames))
        if self.level >= 4:
            floor = self._floor(prop.cell, prop.flip, Trace(*course, still, still))
            self._shade(canvas, scene, course[0], floor, course[2], still, prop.present)
        draw_sprites(canvas, self.stage.objects.atlas, layer, actor=False)

    def _draw_shadow(self, canvas: Tensor, scene: Scene, course: Trace):
        floor = self._floor(scene.identity, scene.flip, course) + course.lift
        self._shade(canvas, scene, course.x, floor, course.size, course.lift, scene.present)

    def _floor(self, cell: Tensor, flip: Tensor, course: Trace) -> Tensor:
        """How far down a cut-out reaches in every frame, in frame sides."""
        cell, flip = (v[:, None].expand_as(course.angle) for v in (cell, flip))
        return course.y + course.size * self._reach(cell, flip, course.angle, torch.pi / 2)

    def _shade(self, canvas, scene, x, floor, size, lift, present):
        """Soft shadows on the ground: wider and fainter the higher the object is above it."""
        px, py, scale = self._to_screen(scene, x, floor)
        width = size * (0.85 + lift) * scale
        height = 0.3 * size * scale
        # What hangs above the horizon has no ground to throw a shadow on.
        grounded = floor > scene.view.horizon[:, None] + 0.04
        opacity = present[:, None] * grounded * 0.6 / (1 + 5 * lift / size)
        cell = torch.full_like(px, self.stage.objects.shadow, dtype=torch.long)
        parts = (cell, px, py - 0.15 * height, width, height, torch.zeros_like(px), opacity)
        layer = Sprites(*(part.flatten() for part in parts))
        draw_sprites(canvas, self.stage.objects.atlas, layer, actor=False)

    def _draw_post(self, canvas: Tensor, scene: Scene):
        post, camera = scene.post, scene.camera
        x = post.x[:, None].expand_as(camera.x)
        x, y, scale = self._to_screen(scene, x, torch.zeros_like(x))
        width = post.width[:, None] * scale
        cell, flip = (v[:, None].expand_as(x) for v in (post.cell, post.flip))
        tall = torch.full_like(x, 2.0) * scale
        opacity = post.present[:, None].expand_as(x)
        parts = (cell, x, y, width * flip, tall, torch.zeros_like(x), opacity)
        layer = Sprites(*(part.flatten() for part in parts))
        draw_sprites(canvas, self.stage.posts, layer, actor=False)

    def _add_noise(self, canvas: Tensor, scene: Scene):
        """Sensor noise: for each colour and frame a piece of the noise bank, read not drawn."""
        windows = self.noise.unfold(0, self.image_size**2, 1)
        strength = scene.noise.repeat_interleave(self.num_frames)[:, None]
        for colour, start in zip(canvas[:3], scene.noise_start.unbind(1), strict=True):
            colour += (windows[start.flatten()] * strength).view_as(colour)

    def _expose(self, colours: Tensor, scene: Scene) -> Tensor:
        """8-bit pixels; photos are taken a little brighter or darker from clip to clip."""
        exposure = scene.exposure if self.level >= 1 else torch.ones_like(scene.exposure)
        scale = 255 * exposure.repeat_interleave(self.num_frames)[:, None, None]
        return (colours * scale).round_().clamp_(0, 255).to(torch.uint8)

    def _reach(self, cell: Tensor, flip: Tensor, angle: Tensor, direction: float) -> Tensor:
        """How far the outlines reach from their middle in a direction, in their own sizes."""
        support = self.stage.objects.support
        turned = direction - angle
        turned = torch.where(flip < 0, torch.pi - turned, turned)
        place = (turned / (2 * torch.pi) * support.shape[1]) % support.shape[1]
        low = place.long() % support.shape[1]
        part = place - place.floor()
        near, far = support[cell, low], support[cell, (low + 1) % support.shape[1]]
        return near + (far - near) * part

    def _amodal(self, actor: Sprites) -> Float[Tensor, "n 4"]:
        """Box around the whole outline of each sprite."""
        flip = actor.width.sign()
        reach = [
            self._reach(actor.cell, flip, actor.angle, quarter * torch.pi / 2) * actor.height
            for quarter in range(4)
        ]  # right, down, left, up
        return torch.stack(
            [actor.x - reach[2], actor.y - reach[3], actor.x + reach[0], actor.y + reach[1]], -1
        )

    def _visible(self, shape: Tensor, amodal: Tensor) -> Float[Tensor, "n 4"]:
        """Box around the pixels where the actor shows, never outside the amodal box."""
        box = boxes_of(shape)
        low = torch.maximum(box[:, :2], amodal[:, :2])
        high = torch.minimum(box[:, 2:], amodal[:, 2:])
        inside = (high > low).all(-1, keepdim=True)
        return torch.cat([low, high], -1) * inside
