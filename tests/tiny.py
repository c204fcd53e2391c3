"""What a test can afford: a small shape with every part of the real one, a model, a short run."""

import json

import torch

from vjepa.config import ModelConfig
from vjepa.model import VJEPA

TINY = ModelConfig(
    image_size=48,
    num_frames=4,
    patch_size=12,
    embed_dim=24,
    depth=1,
    num_heads=2,
    predictor_embed_dim=12,
    predictor_depth=1,
    predictor_num_heads=2,
    patch_init_std=0.06,
)

FOUR_LAYERS = ModelConfig(
    image_size=32,
    num_frames=4,
    embed_dim=24,
    depth=12,
    num_heads=2,
    predictor_embed_dim=24,
    predictor_depth=2,
    predictor_num_heads=2,
    num_mask_tokens=8,
    family="vjepa2.1",
    mask_token=0,
    target_layers=4,
)
"""The layout of V-JEPA 2.1's g and G."""

SHORT = {
    "steps": 6,
    "batch_size": 4,
    "warmup": 2,
    "precision": "no",
    "save_every": 2,
    "log_every": 1,
}
"""Settings of a run of a moment."""


def tiny_model():
    """A frozen model of random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VJEPA(TINY).eval().requires_grad_(False)


def losses(folder):
    """Step and loss of every line of a run's metrics."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(row["step"], row["loss"]) for row in rows]
