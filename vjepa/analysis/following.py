"""What resembles what: one token against all, a patch followed through time, an object carried on.

Everything here compares directions (`directions`), a clip's features without the part that all of
its tokens share. That part is large, and what is left of a token beside it is mostly its position:
without centring, matches stay where they are. On world clips (`score_following`) centring raises
the overlap of propagated objects and the hits of followed patches.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Generator, Tensor
from tqdm.auto import tqdm

from vjepa.analysis.features import FrozenModel
from vjepa.analysis.intervals import interval
from vjepa.config import ModelConfig
from vjepa.data.clips import normalize
from vjepa.errors import InputError
from vjepa.tokens import patchify
from vjepa.world.world import World

Grid = tuple[int, int, int]

RADIUS = 1
"""How far, in patches, a thing may go from one time step to the next: Caron et al.'s 12 patches of
60, on a grid of 7. A wider search finds more look-alikes and fewer of the true places."""
QUEUE, TOP_K, TEMPERATURE = 7, 5, 0.1
"""Label propagation as published: the last time steps that are remembered beside the first, the
neighbours that a token listens to, and the temperature of their softmax."""
MAJORITY = 0.5
"""A token belongs to the object that covers more than this share of its tubelet."""
CHUNK = 16  # clips encoded at a time


def directions(features: Float[Tensor, "*B N D"], centred: bool = True) -> Float[Tensor, "*B N D"]:
    """Features of unit length, so that a product of two is their cosine similarity.

    Args:
        features: tokens of whole clips, from any layer.
        centred: whether the mean over each clip's tokens is taken away first.
    """
    features = features.float()
    if centred:
        features = features - features.mean(dim=-2, keepdim=True)
    return F.normalize(features, dim=-1)


def cosine(directions: Float[Tensor, "N D"], token: int) -> Float[Tensor, " N"]:
    """Cosine similarity of one token to all, -1..1; 1 to itself."""
    return directions @ directions[token]


def track(directions: Float[Tensor, "N D"], token: int, grid: Grid) -> Int64[Tensor, " t"]:
    """Follows a patch through the clip: at every time step, the token that resembles it most.

    The search goes forwards and backwards from the token, each time within `RADIUS` patches of
    the last match. Matches are compared with the first token, not with each other: a chain drifts
    away and cannot come back.

    Args:
        directions: of one clip.
        token: where to start.
        grid: (t, h, w).
    """
    t, h, w = grid
    likeness = cosine(directions, token).view(t, h * w)
    near = neighbourhood(h, w)
    step, start = divmod(token, h * w)
    places = torch.full((t,), start)
    for way in _ways(step, t):
        place = start
        for here in way:
            place = likeness[here].masked_fill(~near[place], -torch.inf).argmax()
            places[here] = place
    return places + h * w * torch.arange(t)


def propagate(
    directions: Float[Tensor, "N D"], chosen: Bool[Tensor, "h w"], step: int, grid: Grid
) -> Float[Tensor, "t h w"]:
    """Carries the tokens of an object through the clip: label propagation (Caron et al. 2021).

    Every token of a time step takes the average label of its `TOP_K` nearest neighbours by
    feature, weighted by softmax(cosine / `TEMPERATURE`), among the tokens within `RADIUS` patches
    in the first step and the last `QUEUE` ones (section 4.2.2, "video instance segmentation").

    Args:
        directions: of one clip.
        chosen: the object's tokens.
        step: the time step in which they were chosen.
        grid: (t, h, w).

    Returns:
        how much of each token belongs to the object, 0..1; `chosen` itself at `step`.

    Raises:
        InputError: no token is chosen.
    """
    if not chosen.any():
        raise InputError("No token is chosen: choose at least one token of the object.")
    t, h, w = grid
    tokens = directions.view(t, h * w, -1)
    far = ~neighbourhood(h, w)
    labels = torch.zeros(t, h * w)
    labels[step] = chosen.flatten().float()
    for way in _ways(step, t):
        recent = deque(maxlen=QUEUE)
        for here in way:
            memory = [step, *recent]
            labels[here] = _listen(tokens[here], tokens[memory], labels[memory], far)
            recent.append(here)
    return labels.view(grid)


def neighbourhood(h: int, w: int, radius: int = RADIUS) -> Bool[Tensor, "P P"]:
    """Which places of an h x w frame lie within `radius` patches of which, diagonals included."""
    places = torch.cartesian_prod(torch.arange(h), torch.arange(w))
    return (places[:, None] - places).abs().amax(-1) <= radius


def _ways(step: int, t: int) -> tuple[range, range]:
    """The time steps after `step`, and those before it, both leading away from it."""
    return range(step + 1, t), range(step - 1, -1, -1)


def _listen(
    tokens: Float[Tensor, "P D"],
    memory: Float[Tensor, "S P D"],
    labels: Float[Tensor, "S P"],
    far: Bool[Tensor, "P P"],
) -> Float[Tensor, " P"]:
    """The labels that tokens take over from those in memory."""
    likeness = torch.einsum("pd,sqd->psq", tokens, memory) / TEMPERATURE
    likeness = likeness.masked_fill(far[:, None], -torch.inf).flatten(1)  # (P, S P)
    nearest, index = likeness.topk(min(TOP_K, likeness.shape[1]))
    return (nearest.softmax(-1) * labels.flatten()[index]).sum(-1)


def jaccard(mask: Bool[Tensor, "*T h w"], truth: Bool[Tensor, "*T h w"]) -> Float[Tensor, "*T"]:
    """Region similarity J, intersection over union, frame by frame; 1 where both are empty."""
    both, either = ((m.flatten(-2).sum(-1)) for m in (mask & truth, mask | truth))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def overlap(labels: Float[Tensor, "t h w"], truth: Bool[Tensor, "t h w"], step: int) -> float:
    """J of a propagated object, averaged over all time steps but that in which it was chosen."""
    others = torch.arange(len(labels)) != step
    return jaccard(labels > MAJORITY, truth)[others].mean().item()


def coverage(actor: Bool[Tensor, "*B T H W"], config: ModelConfig) -> Float[Tensor, "*B t h w"]:
    """The share of each tubelet's pixels that an object covers, 0..1."""
    f, p = config.tubelet_size, config.patch_size
    return reduce(actor.float(), "... (t f) (h p) (w q) -> ... t h w", "mean", f=f, p=p, q=p)


@dataclass(frozen=True)
class FollowedObject:
    """An object as it is chosen once: where it covers most tokens."""

    truth: Bool[Tensor, "t h w"]  # the tokens that belong to it
    step: int
    token: int  # the one that it covers best at that step

    @classmethod
    def of(cls, covered: Float[Tensor, "t h w"]) -> FollowedObject:
        """The choice for an object that covers these shares of the tubelets."""
        truth = covered > MAJORITY
        step = int(truth.flatten(1).sum(1).argmax())
        best = int(covered[step].argmax())
        return cls(truth, step, step * truth[0].numel() + best)

    def score(
        self, labels: Float[Tensor, "t h w"], followed: Int64[Tensor, " t"]
    ) -> tuple[float, float]:
        """J of the labels, and how often the followed patch is on the object where it shows.

        The step of the choice counts in neither.
        """
        shows = self.truth.flatten(1).any(1)
        shows[self.step] = False
        hits = self.truth.flatten()[followed][shows].float()
        return overlap(labels, self.truth, self.step), hits.mean().item() if len(hits) else 1.0

    def score_features(self, features: Float[Tensor, "N D"]) -> tuple[float, float]:
        """The scores of what these features carry and follow."""
        grid, ways = tuple(self.truth.shape), directions(features)
        labels = propagate(ways, self.truth[self.step], self.step, grid)
        return self.score(labels, track(ways, self.token, grid))

    def score_still(self) -> tuple[float, float]:
        """The scores of staying where the object was chosen."""
        t, places = len(self.truth), self.truth[0].numel()
        stays = self.token % places + places * torch.arange(t)
        return self.score(self.truth[self.step].float().expand(t, -1, -1), stays)


@torch.no_grad()
def score_following(
    models: dict[str, FrozenModel],
    config: ModelConfig,
    *,
    clips: int = 60,
    level: int = 4,
    seed: int = 0,
) -> dict:
    """How well the actors of held-out world clips are followed, against simple baselines.

    The actor is chosen in the time step in which it covers most tokens, and followed from there by
    the features of each model, by raw pixels ("pixels"), or not at all ("still").

    Args:
        models: by name, all of one shape.
        config: their shape.
        clips: how many are drawn; those whose actor owns no token are left out.
        level: difficulty of the world.
        seed: of the clips.

    Returns:
        the number of clips that were scored and, by name, with intervals over them: `jaccard`, J of
        the propagated object; `hits`, how often a followed patch is on the actor.

    Raises:
        InputError: no clips, none with an actor to follow, or no such level.
    """
    world = World(level, config.image_size, config.num_frames, split="test")
    batch = world.sample(clips, Generator().manual_seed(seed))
    covered = coverage(batch.actor, config)
    shows = (covered > MAJORITY).flatten(1).any(1)
    if not shows.any():
        raise InputError(f"None of {clips} clips shows an actor to follow: draw more.")
    choices = [FollowedObject.of(shares) for shares in covered[shows]]
    scores = {"still": [choice.score_still() for choice in choices]}
    for name, features in _features(models, config, batch.frames[shows]).items():
        pairs = zip(choices, features, strict=True)
        scores[name] = [choice.score_features(each) for choice, each in pairs]
    return {"clips": len(choices), "level": level} | _table(scores)


def _features(
    models: dict[str, FrozenModel], config: ModelConfig, frames: UInt8[Tensor, "B T H W 3"]
) -> dict[str, Float[Tensor, "B N D"]]:
    """Every model's features of the clips, and the pixels of their tubelets."""
    parts: dict[str, list[Tensor]] = {name: [] for name in (*models, "pixels")}
    for chunk in tqdm(frames.split(CHUNK), desc="similarity", unit="chunk"):
        clips = normalize(chunk)
        for name, model in models.items():
            parts[name].append(model.encode(clips).float().cpu())
        parts["pixels"].append(patchify(clips, config))
    return {name: torch.cat(chunks) for name, chunks in parts.items()}


def _table(scores: dict[str, list[tuple[float, float]]]) -> dict:
    columns = {name: np.array(pairs).T for name, pairs in scores.items()}
    return {
        measure: {name: interval(column[i]) for name, column in columns.items()}
        for i, measure in enumerate(("jaccard", "hits"))
    }
