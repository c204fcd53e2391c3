"""What a pretraining run begins with: a model, fresh or published, and a source of clips."""

from __future__ import annotations

import torch

from vjepa import checkpoint
from vjepa.baselines import PixelPrediction
from vjepa.config import preset
from vjepa.data.sources import Source, open_source
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.recipes import PretrainConfig
from vjepa.vjepa2 import ContinuedVJEPA2, DenseVJEPA

MODELS = {"dense": DenseVJEPA, "features": checkpoint.fresh, "pixels": PixelPrediction}
"""The model that predicts each of `vjepa.recipes.OBJECTIVES`."""


def begin(config: PretrainConfig) -> tuple[VJEPA | PixelPrediction, Source]:
    """The model and the clips of a run, which `vjepa.pretrain.pretrain` is handed.

    Raises:
        InputError: there is no such model or data, or the model cannot be gone on with.
    """
    if config.begin_with and config.objective != "features":
        raise InputError(
            f"--from goes on with a model's own objective, and not with {config.objective!r}: "
            "leave --objective out."
        )
    model = go_on_from(config.begin_with) if config.begin_with else fresh(config)
    source = open_source(
        config.data,
        model.config,
        levels=config.levels,
        device=torch.device("cpu"),  # clips are drawn by the workers
        fps=config.fps,
        frame_step=config.frame_step,
    )
    return model, source


def fresh(config: PretrainConfig) -> VJEPA | PixelPrediction:
    """A model with first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return MODELS[config.objective](preset(config.preset))


def go_on_from(name: str) -> VJEPA:
    """A published model, or one of ours, to be trained further by the objective of its own.

    Raises:
        InputError: there is none, it has no predictor, or its training was not published.
    """
    model = checkpoint.load(name, device="cpu", dtype=torch.float32)
    checkpoint.require_predictor(model.config)
    family = model.config.family
    if family == "vjepa2.1":
        reason = (
            "it was distilled, and how was not published"
            if model.config.teacher_dim
            else "its predictor was trained on stretched positions and is published without"
        )
        raise InputError(
            f"This V-JEPA 2.1 cannot be gone on with: {reason}; take a V-JEPA or a V-JEPA 2."
        )
    if family == "vjepa2":
        model = ContinuedVJEPA2(model)
    model.train().requires_grad_(True)
    model.target_encoder.requires_grad_(False)
    for index, token in enumerate(model.predictor.mask_tokens):  # others never had a gradient
        token.requires_grad_(model.config.mask_token in (-1, index))
    return model
