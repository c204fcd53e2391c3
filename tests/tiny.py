"""A model shape that a test can afford: small, and with every part of the real one."""

from vjepa.config import ModelConfig

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
