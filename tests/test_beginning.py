"""Going on from published models: the first loss is the published objective's."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import vjepa
from vjepa import checkpoint
from vjepa.beginning import begin, go_on_from
from vjepa.errors import InputError
from vjepa.masks import MaskBatch
from vjepa.pretrain import pretrain
from vjepa.recipes import RECIPES, PretrainConfig, expanded
from vjepa.tokens import take
from vjepa.vjepa2 import VJEPA2


def test_the_first_loss_is_the_official_code_s(golden):
    model = go_on_from(str(golden / "vjepa1-a/checkpoint.pth.tar"))
    expected = load_file(golden / "vjepa1-a/expected.safetensors")
    masks = [
        MaskBatch(expected[f"context_idx_{k}"], expected[f"target_idx_{k}"], k) for k in (0, 1)
    ]
    loss = model(expected["clip"], masks).mean()
    torch.testing.assert_close(loss, expected["loss"][0], atol=1e-5, rtol=0)
    loss.backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert not any(p.requires_grad for p in model.target_encoder.parameters())


def test_a_v_jepa_2_predicts_layer_normed_features_of_its_average(golden):
    model = go_on_from(str(golden / "vjepa2-a"))
    published = vjepa.load(golden / "vjepa2-a", device="cpu", dtype=torch.float32)
    shape, generator = model.config, torch.Generator().manual_seed(0)
    side = (shape.num_frames, shape.image_size, shape.image_size)
    clips = torch.randn(2, 3, *side, generator=generator)
    order = torch.randperm(shape.num_tokens, generator=generator).expand(2, -1)
    mask = MaskBatch(order[:, :5].contiguous(), order[:, 5:12].contiguous(), "long")
    (loss,) = model(clips, [mask])
    context = published.encode_context(clips, mask.context_idx)
    predicted = published.predict(context, mask.context_idx, mask.target_idx)
    whole = published.encode(clips)
    targets = take(F.layer_norm(whole, whole.shape[-1:]), mask.target_idx)
    assert loss.item() == pytest.approx((predicted - targets).abs().mean().item(), abs=1e-5)
    model.update_target(0.5)
    again = model.trained()
    assert type(again) is VJEPA2
    trained = [i for i, t in enumerate(model.predictor.mask_tokens) if t.requires_grad]
    assert trained == ([shape.mask_token] if shape.mask_token >= 0 else list(range(10)))


def test_a_published_model_is_trained_further_and_opens_again(golden, tmp_path):
    path = golden / "vjepa1-a/checkpoint.pth.tar"
    before = checkpoint.load(path, device="cpu", dtype=torch.float32)
    shape = before.config
    clips = np.zeros((4, shape.num_frames, shape.image_size, shape.image_size, 3), np.uint8)
    np.save(tmp_path / "clips.npy", clips)
    recipe = RECIPES["continue"] | {"batch_size": 2, "steps": 2, "mask_batch": 2, "workers": 0}
    config = PretrainConfig(
        out=tmp_path / "run",
        data=str(tmp_path / "clips.npy"),
        begin_with=str(path),
        **recipe | {"precision": "no", "warmup": 1},
    )
    after = checkpoint.load(pretrain(config, *begin(config)), device="cpu", dtype=torch.float32)
    assert after.config == shape
    moved = [
        (ours - theirs).abs().max().item()
        for ours, theirs in zip(after.parameters(), before.parameters(), strict=True)
    ]
    assert 0 < max(moved) < 0.01
    with pytest.raises(InputError, match="own objective"):
        begin(replace(config, objective="dense"))


def test_what_cannot_be_gone_on_with_is_a_sentence(golden):
    with pytest.raises(InputError, match="not published") as caught:
        go_on_from(str(golden / "vjepa21-a/checkpoint.pt"))
    assert "\n" not in str(caught.value)


def test_from_stands_for_the_rates_that_training_ended_with():
    words = expanded(["--from", "vitl16", "--lr", "1e-5"])
    assert words[-4:] == ["--from", "vitl16", "--lr", "1e-5"]
    given = dict(pairwise(words))
    assert given["--objective"] == "features" and given["--start-lr"] == "1e-06"
    with pytest.raises(InputError, match="no recipe 'x'; choose one of demo, physics, vitl16"):
        expanded(["--recipe", "x"])
