"""Probes that are trained: attentive ones, and a linear layer on averaged tokens.

Those with one recipe learn side by side from the same batches, because most of a step is going over
the tokens, and one pass serves all. Each learns as it would alone: the losses are summed, no two
probes share a parameter, and AdamW treats every parameter by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.optim import param_groups_weight_decay
from torch import Generator, Tensor, nn

from vjepa.analysis.attentive import AttentiveProbe, attention_weights
from vjepa.analysis.features import Tokens
from vjepa.analysis.tasks import Task
from vjepa.checkpoint import default_device, default_dtype
from vjepa.training import warmup_cosine


@dataclass(frozen=True)
class Recipe:
    """How a probe is trained, whatever the model, the task and the number of labels.

    The usual one was chosen once, on 500 of 4,000 training clips of the world's level 1, by what
    served the demo model and its random twin.

    Attributes:
        steps, batch_size: the same for few labels, which are seen more often.
        lr: peak of the learning rate, after `warmup` steps; it ends at zero.
        weight_decay: of weights, not of biases and other 1-D parameters.
        label_smoothing: of classes.
    """

    steps: int = 1000
    batch_size: int = 64
    lr: float = 2e-3
    warmup: int = 50
    weight_decay: float = 1.0
    label_smoothing: float = 0.1


class AverageProbe(nn.Module):
    """The mean over all tokens, then a linear layer (paper, table 3).

    What means differ by is small beside what they share, so they are standardised first, as is
    usual in linear probing (He et al. 2021, A.1).
    """

    blocks = ()

    def __init__(self, dim: int, num_outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.linear = nn.Linear(dim, num_outputs)
        nn.init.zeros_(self.linear.weight)  # it is a convex problem: any start is as good

    def keys(self) -> Float[Tensor, "1 D"]:
        """A query that finds nothing anywhere looks everywhere alike."""
        return torch.zeros_like(self.linear.weight[:1])

    def read(self, pooled: Float[Tensor, "B 1 D"]) -> Float[Tensor, "B K"]:
        """Outputs from averaged tokens."""
        return self.linear(self.norm(pooled[:, 0]))


def attentive(dim: int, task: Task, generator: Generator, depth: int = 0) -> AttentiveProbe:
    """The paper's probe, with heads as wide as there; with a depth of 3 it is V-JEPA 2's."""
    heads = 1 if dim % HEAD_WIDTH else dim // HEAD_WIDTH
    outputs = task.outputs
    return AttentiveProbe(dim, heads, len(outputs), outputs, depth=depth, generator=generator)


def average(dim: int, task: Task, generator: Generator) -> AverageProbe:
    """Average pooling."""
    return AverageProbe(dim, len(task.outputs))


HEAD_WIDTH = 64  # the published probes have 16 heads at a width of 1024
TRAINED = {"attentive": attentive, "deep": partial(attentive, depth=3), "average": average}
"""Makes an untrained probe of each kind."""
RECIPES = {
    "attentive": Recipe(),
    "deep": Recipe(steps=1500, batch_size=32, lr=1e-3, warmup=100, weight_decay=0.1),
    "average": Recipe(),
}
"""How each kind is trained. The deep one has forty times as much to compute a clip; from 5,000
labelled clips of the physics world it reads 74 % of events after 400 steps, and 86 % after these.
No others were tried."""

Pair = tuple[Task, str]
Probe = AttentiveProbe | AverageProbe


def fit(
    pairs: Sequence[Pair], train: Tokens, *, seed: int, recipe: Recipe | None = None
) -> dict[Pair, Probe]:
    """Trains a probe of each kind for each task; kinds with one recipe from the same batches.

    Args:
        pairs: tasks, and names in `TRAINED`.
        train: labelled tokens; of several views the first is learned from.
        seed: of the first weights and of the batches.
        recipe: each kind's in `RECIPES` if not given.
    """
    recipes = {pair: recipe or RECIPES[pair[1]] for pair in pairs}
    fitted = {}
    for shared in dict.fromkeys(recipes.values()):
        alike = [pair for pair in pairs if recipes[pair] == shared]
        fitted |= _fit_together(alike, train, seed, shared)
    return {pair: fitted[pair] for pair in pairs}


def _fit_together(
    pairs: Sequence[Pair], train: Tokens, seed: int, recipe: Recipe
) -> dict[Pair, Probe]:
    device = default_device()
    probes = {pair: start(pair, train, seed).to(device) for pair in pairs}
    labels = {task: torch.as_tensor(train.label(task.name), device=device) for task, _ in pairs}
    groups = param_groups_weight_decay(nn.ModuleList(probes.values()), recipe.weight_decay)
    optimizer = torch.optim.AdamW(groups, fused=True)
    draws = np.random.default_rng(seed)
    for step in range(recipe.steps):
        rows = draws.integers(len(train), size=recipe.batch_size)
        tokens = train.read(rows)[:, 0].to(device)
        batch = {task: values[rows] for task, values in labels.items()}
        set_rate(optimizer, recipe, step)
        take_step(probes, tokens, batch, optimizer, recipe.label_smoothing)
    return {pair: probe.eval().requires_grad_(False) for pair, probe in probes.items()}


def start(pair: Pair, train: Tokens, seed: int) -> Probe:
    """An untrained probe, whose answers begin near the best constant one."""
    task, kind = pair
    probe = TRAINED[kind](train.dim, task, Generator().manual_seed(seed))
    answer = torch.from_numpy(task.first_answer(train.label(task.name)))
    with torch.no_grad():
        probe.linear.bias.copy_(answer)
    return probe


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    """The learning rate of a step: a warm-up, then half a cosine down to zero."""
    shape = {"warmup": recipe.warmup, "start": 0.0, "peak": recipe.lr, "end": 0.0}
    for group in optimizer.param_groups:
        group["lr"] = warmup_cosine(step + 1, recipe.steps, **shape)


def take_step(
    probes: Mapping[Pair, Probe],
    tokens: Float[Tensor, "B N D"],
    labels: Mapping[Task, Tensor],
    optimizer: torch.optim.Optimizer,
    smoothing: float,
) -> None:
    """One optimizer step of every probe."""
    outputs = read_together(list(probes.values()), tokens)
    losses = [
        task.loss(output, labels[task], smoothing)
        for (task, _), output in zip(probes, outputs, strict=True)
    ]
    torch.stack(losses).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def read_together(
    probes: Sequence[Probe], tokens: Float[Tensor, "B N D"]
) -> list[Float[Tensor, "B K"]]:
    """Outputs of several probes, whose queries go over the layer-normed tokens as one.

    Those with blocks of self-attention go over what these make of the tokens, each by itself.
    """
    alike = [probe for probe in probes if not probe.blocks]
    fast = default_dtype(tokens.device) == torch.bfloat16
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=fast):
        outputs = {probe: probe(tokens).float() for probe in probes if probe.blocks}
    if alike:
        keys = [probe.keys() for probe in alike]
        pooled = attention_weights(tokens, torch.cat(keys)) @ tokens
        parts = pooled.split([len(key) for key in keys], dim=1)
        outputs |= {probe: probe.read(part) for probe, part in zip(alike, parts, strict=True)}
    return [outputs[probe] for probe in probes]


@torch.no_grad()
def ask(
    probes: Mapping[Pair, Probe], test: Tokens, batch_size: int = 64
) -> dict[Pair, Float[np.ndarray, "n V K"]]:
    """What trained probes answer to every view of every clip."""
    answers: dict[Pair, list] = {pair: [] for pair in probes}
    device = next(iter(probes.values())).linear.weight.device
    for rows in np.array_split(np.arange(len(test)), math.ceil(len(test) / batch_size)):
        tokens = test.read(rows).to(device)
        outputs = read_together(list(probes.values()), tokens.flatten(0, 1))
        for pair, output in zip(probes, outputs, strict=True):
            answers[pair].append(pair[0].answer(output).unflatten(0, tokens.shape[:2]))
    return {pair: torch.cat(parts).cpu().numpy() for pair, parts in answers.items()}


NEIGHBOURS = 10


FITTED: dict[str, Callable[[Task, int], BaseEstimator]] = {
    "linear": lambda task, clips: task.linear(),
    "knn": lambda task, clips: task.knn(min(NEIGHBOURS, clips)),
}
"""Estimators that are fitted to the standardised mean, deviation and maximum of the tokens."""


def fit_estimator(task: Task, kind: str, train: Tokens, test: Tokens) -> Float[np.ndarray, "n V K"]:
    """Fits an estimator to pooled features; returns its answers to every view of the test clips."""
    estimator = make_pipeline(StandardScaler(), FITTED[kind](task, len(train)))
    estimator.fit(train.pooled[:, 0], train.label(task.name))
    asked = test.pooled  # (n, V, F)
    answers = task.predict(estimator, asked.reshape(-1, asked.shape[-1]))
    return answers.reshape(*asked.shape[:2], -1)
