"""What a pretraining run begins with: a model, fresh or published, and a source of clips.

V-JEPA 2 and 2.1 are published with one encoder, the average. Where they are trained further it is
where both encoders begin.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from vjepa import checkpoint
from vjepa.baselines import PixelPrediction, load_pixel_prediction
from vjepa.config import preset
from vjepa.data.clips import normalize
from vjepa.data.sources import Source, open_source
from vjepa.errors import InputError
from vjepa.masks import MaskBatch
from vjepa.model import VJEPA
from vjepa.recipes import PretrainConfig
from vjepa.tokens import take
from vjepa.vjepa2 import (
    CONTEXT_WEIGHT,
    STRETCHED_SIDE,
    VJEPA2,
    VJEPA21,
    DeepVJEPA,
    DenseVJEPA,
    Predictor21,
)

FITTED = 16
"""Clips that a predictor's first layer is fitted on."""
SEEN = 1e-5
"""Directions in which features vary less than this share of the most get no weight: layer-normed
ones add up to nothing, and a fit that divided by it would have weights too large for float16."""
MODELS = {"dense": DenseVJEPA, "features": checkpoint.fresh, "pixels": PixelPrediction}
"""The model that predicts each of `vjepa.recipes.OBJECTIVES`."""


def begin(config: PretrainConfig) -> tuple[VJEPA | PixelPrediction, Source]:
    """The model and the clips of a run, which `vjepa.pretrain.pretrain` is handed.

    Raises:
        InputError: there is no such model or data, or the model cannot be gone on with.
    """
    if config.begin_with and config.objective not in GOES_ON:
        raise InputError(
            f"--from goes on with a model's own objective, and not with {config.objective!r}: "
            "leave --objective out, or train its predictor alone."
        )
    if config.objective == "predictor" and not config.begin_with:
        raise InputError(
            "--objective predictor trains the predictor of a model that is there: name one, --from."
        )
    model = GOES_ON[config.objective](config.begin_with) if config.begin_with else fresh(config)
    model.rarity = config.rarity
    source = open_source(
        config.data,
        model.config,
        levels=config.levels,
        device=torch.device("cpu"),  # clips are drawn by the workers
        fps=config.fps,
        frame_step=config.frame_step,
    )
    if config.objective == "predictor":
        frames = source.sample(FITTED, Generator(source.device).manual_seed(config.seed))
        freeze_encoder(model, normalize(frames))
    return model, source


def fresh(config: PretrainConfig) -> VJEPA | PixelPrediction:
    """A model with first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return MODELS[config.objective](preset(config.preset))


@torch.no_grad()
def freeze_encoder(model: VJEPA, clips: Float[Tensor, "B C T H W"]) -> None:
    """Puts the target encoder in the context encoder's place, for good: the predictor learns alone.

    Its first layer is fitted by least squares, so that it makes of the target encoder's features
    what it made of the context encoder's, as far as it can.

    Args:
        model: is changed.
        clips: that it is fitted on.
    """
    ours, theirs = (e(clips).flatten(0, 1) for e in (model.target_encoder, model.encoder))
    if not torch.equal(ours, theirs):  # published with one encoder, it is as it was
        first = model.predictor.embed
        given = F.pad(ours, (0, 1), value=1.0)
        asked = (given.double(), first(theirs).double())
        fitted = torch.linalg.lstsq(*asked, rcond=SEEN, driver="gelsd").solution
        first.weight.copy_(fitted[:-1].T)
        first.bias.copy_(fitted[-1])
        model.encoder.load_state_dict(model.target_encoder.state_dict())
    model.encoder.requires_grad_(False)


class ContinuedVJEPA2(VJEPA):
    """A V-JEPA 2 that is trained further, as it was trained: L1 on layer-normed features.

    Args:
        model: gives its parts away.
    """

    def __init__(self, model: VJEPA2) -> None:
        super().__init__(model.config, model.encoder, model.predictor)

    def trained(self) -> VJEPA2:
        """A published model again, its encoder the average."""
        model = checkpoint.fresh(self.config).to(self.device, self.dtype)
        model.encoder.load_state_dict(self.target_encoder.state_dict())
        model.predictor.load_state_dict(self.predictor.state_dict())
        return model


class ContinuedVJEPA21(DeepVJEPA, ContinuedVJEPA2):
    """A V-JEPA 2.1 that is trained further, as its training ended: L1 on visible tokens as well.

    All visible tokens count alike; before that end, the published training counts those near
    hidden ones more. The predictor stretches positions, as it did in training. Clips are videos:
    what is only for still images stays as it is.

    Args:
        model: gives its parts away.
    """

    def __init__(self, model: VJEPA21) -> None:
        super().__init__(model)
        self.config = replace(model.config, predictor_side=STRETCHED_SIDE)
        self.predictor = Predictor21(self.config)
        self.predictor.load_state_dict(model.predictor.state_dict())

    def _mask_loss(self, clips: Tensor, targets: Tensor, mask: MaskBatch) -> Tensor:
        context = self.encode_context(clips, mask.context_idx)
        hidden, visible = self.predictor(context, *mask)
        return self._hidden_loss(hidden, targets, mask.target_idx) + (
            CONTEXT_WEIGHT * F.l1_loss(visible.float(), take(targets, mask.context_idx))
        )


CONTINUED = {"vjepa2": ContinuedVJEPA2, "vjepa2.1": ContinuedVJEPA21}
"""How a family is trained further that is published with one encoder."""


def go_on_from(name: str) -> VJEPA:
    """A published model, or one of ours, to be trained further by the objective of its own.

    Raises:
        InputError: there is none, it has no predictor, or its training was not published.
    """
    model = checkpoint.load(name, device="cpu", dtype=torch.float32)
    checkpoint.require_predictor(model.config)
    if model.config.teacher_dim:
        raise InputError(
            "This V-JEPA 2.1 cannot be gone on with: it was distilled from a larger model that is "
            "not in its file, and how was not published; take its g or G, a V-JEPA or a V-JEPA 2."
        )
    if model.config.family in CONTINUED:
        model = CONTINUED[model.config.family](model)
    model.train().requires_grad_(True)
    model.target_encoder.requires_grad_(False)
    for name, part in model.named_parameters():
        if "img" in name:  # of still images, which no clip of training is
            part.requires_grad_(False)
    for index, token in enumerate(model.predictor.mask_tokens):  # others never had a gradient
        token.requires_grad_(model.config.mask_token in (-1, index))
    return model


def go_on_with_pixels(name: str) -> PixelPrediction:
    """A pixel prediction that a run wrote, to be trained further.

    Raises:
        InputError: the folder holds none.
    """
    return load_pixel_prediction(Path(name)).train().requires_grad_(True)


GOES_ON = {"features": go_on_from, "predictor": go_on_from, "pixels": go_on_with_pixels}
"""What reads the model that `--from` names, by objective."""
