"""Signs of collapse: a falling loss says nothing about whether features still tell clips apart."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def feature_spread(features: Float[Tensor, "B N D"]) -> float:
    """Standard deviation over clips at the same position, averaged: 0 is collapse to positions."""
    return features.float().std(dim=0).mean().item()


def effective_rank(features: Float[Tensor, "B N D"]) -> float:
    """exp of the entropy of the singular values, positions' means removed.

    Source: Roy and Vetterli 2007, "The effective rank": how many
    directions are used; 1 is full collapse, D the most.
    """
    centred = (features.float() - features.float().mean(dim=0)).flatten(0, 1)  # (B N, D)
    singular = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0).sqrt()
    shares = singular / singular.sum().clamp_min(1e-12)
    return torch.exp(-(shares * shares.clamp_min(1e-12).log()).sum()).item()
