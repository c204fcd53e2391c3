"""A predictor that has grown predicts as before, and can learn to do otherwise."""

from dataclasses import replace

import torch
from tiny import TINY

from benchmarks.deepen import deepen
from vjepa.masks import MaskBatch
from vjepa.vjepa2 import RotaryVJEPA

CONFIG = replace(TINY, predictor_depth=3, family="vjepa-rotary")


def test_blocks_are_added_that_add_nothing_until_they_learn():
    torch.manual_seed(0)
    model = RotaryVJEPA(CONFIG)
    deeper = deepen(model, [1, 3])
    assert deeper.config.predictor_depth == 5
    size = CONFIG.image_size
    clips = torch.randn(2, 3, CONFIG.num_frames, size, size)
    idx = torch.arange(CONFIG.num_tokens).expand(2, -1)
    seen, hidden = idx[:, ::2], idx[:, 1::2]

    def predict(a: RotaryVJEPA) -> torch.Tensor:
        return a.predict(a.encode_context(clips, seen), seen, hidden)

    assert torch.equal(predict(model), predict(deeper))
    deeper(clips, [MaskBatch(seen, hidden, "long")]).sum().backward()
    added = [deeper.predictor.blocks[place] for place in (1, 4)]
    assert all(block.mlp.fc2.weight.grad.abs().sum() > 0 for block in added)
    assert all(block.attn.proj.weight.grad.abs().sum() > 0 for block in added)
