"""The optimizers of pretraining and of the decoder's training.

With few clips the optimizer decides how much is learned of each: after 26,000 clips Muon had
learned to predict what AdamW had after 115,000 (the bundled model's card).
"""

from __future__ import annotations

import torch
from timm.optim import Muon, param_groups_weight_decay
from torch import nn

BETAS = (0.9, 0.999)
FALLBACK = 0.2
"""Muon's learning rate for what is no matrix of a block, relative to that for those."""


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW, as published; biases and other 1-D parameters are not decayed."""
    groups = param_groups_weight_decay(model, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=True)


def muon(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for the rest.

    An update of a matrix is orthogonalised: all its directions are learned equally fast.

    Args:
        model: has its blocks in module lists named `blocks`.
        lr: of those matrices, on AdamW's scale (Liu et al. 2025, "Muon is scalable for LLM
            training"); the rest has `FALLBACK` times as much.
        weight_decay: of what is not 1-D.
    """
    names = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "blocks" in name.split(".")
    }
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rest = [p for name, p in trained if name not in names]
    groups = [
        {"params": [p for name, p in trained if name in names], "nesterov": True},
        {"params": [p for p in rest if p.ndim > 1], "use_fallback": True},
        {"params": [p for p in rest if p.ndim <= 1], "use_fallback": True, "weight_decay": 0.0},
    ]
    return Muon(groups, lr, weight_decay, fallback_lr_scale=FALLBACK, betas=BETAS)


OPTIMIZERS = {"muon": muon, "adamw": adamw}
"""By name: each takes a model, a learning rate and a weight decay."""
