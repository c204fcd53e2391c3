"""Going on from published models: the first loss is the published objective's."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import FOUR_LAYERS, TINY

import vjepa
from vjepa import checkpoint
from vjepa.baselines import PixelPrediction, load_pixel_prediction
from vjepa.beginning import ContinuedVJEPA21, begin, freeze_encoder, go_on_from
from vjepa.errors import InputError
from vjepa.formats import official2
from vjepa.masks import MaskBatch
from vjepa.model import VJEPA, token_weights
from vjepa.pretrain import pretrain
from vjepa.recipes import RECIPES, PretrainConfig, expanded
from vjepa.tokens import take
from vjepa.vjepa2 import STRETCHED_SIDE, VJEPA2, VJEPA21


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


def test_the_loss_of_a_v_jepa_2_1_is_the_official_code_s(golden, monkeypatch):
    """Of the golden file's online encoder, with the targets that stand there for its teacher's."""
    folder, expected = golden / "vjepa21-a", load_file(golden / "vjepa21-a/expected.safetensors")
    published = vjepa.load(folder / "checkpoint.pt", device="cpu", dtype=torch.float32)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    online = official2.read(unwrapped_parts(state, "encoder", "predictor"), folder / "x.pt")
    checkpoint.adopt(published, online.tensors, "x.pt", torch.float32)
    model = ContinuedVJEPA21(published)
    monkeypatch.setattr(model, "target_features", lambda clips: expected["target_normalised"])
    masks = [
        MaskBatch(expected[f"context_idx_{k}"], expected[f"target_idx_{k}"], "long") for k in (0, 1)
    ]
    loss = model(expected["clip"], masks).mean()
    torch.testing.assert_close(loss, expected["loss_total"][0], atol=1e-5, rtol=0)
    plain, hidden = model(expected["clip"], masks[:1])[0], predicted(model, expected)
    model.rarity = 1.0
    targets, idx = expected["target_normalised"], masks[0].target_idx
    added = (hidden - take(targets, idx)).abs() * (take(token_weights(targets, 1.0), idx) - 1)
    torch.testing.assert_close(model(expected["clip"], masks[:1])[0] - plain, added.mean())


def predicted(model, expected):
    """What a V-JEPA 2.1 says of what the golden file's first mask hides."""
    idx = expected["context_idx_0"], expected["target_idx_0"]
    context = model.encode_context(expected["clip"], idx[0])
    return model.predictor(context, *idx, "long")[0]


def unwrapped_parts(state, *names):
    """Parts of an official checkpoint, their tensors' names without what wrappers add."""
    prefix = "module.backbone."
    return {part: {n.removeprefix(prefix): t for n, t in state[part].items()} for part in names}


@pytest.fixture
def deep(tmp_path):
    """A folder with a V-JEPA 2.1 of the layout of g and G, small, of random weights."""
    torch.manual_seed(0)
    model = VJEPA21(FOUR_LAYERS)
    for part in model.parameters():
        torch.nn.init.normal_(part, std=0.2)
    checkpoint.save(model, tmp_path / "deep", torch.float32)
    return tmp_path / "deep"


def test_a_v_jepa_2_1_predicts_its_own_four_layers(deep):
    model = go_on_from(str(deep))
    shape, generator = model.config, torch.Generator().manual_seed(0)
    clips = torch.randn(2, 3, 4, 32, 32, generator=generator)
    order = torch.stack([torch.randperm(8, generator=generator) for _ in range(2)])
    mask = MaskBatch(order[:, :3].contiguous(), order[:, 3:7].contiguous(), "short")
    (loss,) = model(clips, [mask])
    layers = model.encoder.multilayer(clips).unflatten(-1, (4, -1))
    targets = F.layer_norm(layers, layers.shape[-1:]).flatten(2)
    context = model.encoder.multilayer(clips, mask.context_idx)
    hidden, visible = model.predictor(context, mask.context_idx, mask.target_idx, 0)
    errors = (hidden - take(targets, mask.target_idx), visible - take(targets, mask.context_idx))
    expected = errors[0].abs().mean() + 0.5 * errors[1].abs().mean()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    published = vjepa.load(deep, device="cpu", dtype=torch.float32)
    as_published, _ = published.predictor(context, mask.context_idx, mask.target_idx, 0)
    assert not torch.allclose(hidden, as_published, atol=1e-3)  # its positions are not stretched
    assert shape.predictor_side == STRETCHED_SIDE
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without  # or several processes would wait for their gradients


def test_a_v_jepa_2_1_is_trained_further_and_opens_as_it_was_trained(deep, tmp_path):
    model, before = train_further(deep, tmp_path)
    shape = before.config
    assert type(model) is VJEPA21
    assert model.config == replace(shape, predictor_side=STRETCHED_SIDE)
    moved = {
        name: (ours - theirs.half().float()).abs().max().item()  # it was saved so
        for (name, ours), theirs in zip(model.named_parameters(), before.parameters(), strict=True)
    }
    assert not any(size for name, size in moved.items() if "img" in name)
    assert moved["predictor.mask_tokens.0"] > 0 and moved["predictor.proj_context.weight"] > 0
    assert max(moved.values()) < 0.01
    again = go_on_from(str(tmp_path / "run" / "model"))
    assert again.config == model.config


def train_further(path, tmp_path):
    """Two steps of `--from`: the model that they give, and the one that they began with."""
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
    with pytest.raises(InputError, match="own objective"):
        begin(replace(config, objective="dense"))
    return after, before


def test_a_published_model_is_trained_further_and_opens_again(golden, tmp_path):
    after, before = train_further(golden / "vjepa1-a/checkpoint.pth.tar", tmp_path)
    assert after.config == before.config
    moved = [
        (ours - theirs).abs().max().item()
        for ours, theirs in zip(after.parameters(), before.parameters(), strict=True)
    ]
    assert 0 < max(moved) < 0.01


def test_a_pixel_prediction_is_trained_further(tmp_path):
    """A model's twin has to learn as long as the model has, whatever it went on with."""
    clips = np.random.default_rng(0).integers(
        0, 256, (4, TINY.num_frames, TINY.image_size, TINY.image_size, 3), np.uint8
    )
    np.save(tmp_path / "clips.npy", clips)
    first = tmp_path / "first"
    checkpoint.save(PixelPrediction(TINY), first, torch.float32)
    before = load_pixel_prediction(first)
    settings = {"data": str(tmp_path / "clips.npy"), "objective": "pixels", "batch_size": 2}
    config = PretrainConfig(
        out=tmp_path / "run", begin_with=str(first), steps=2, warmup=1, workers=0, **settings
    )
    after = load_pixel_prediction(pretrain(config, *begin(config)))
    moved = [
        (ours.float() - theirs).abs().max().item()
        for ours, theirs in zip(after.parameters(), before.parameters(), strict=True)
    ]
    assert after.config == TINY and 0 < max(moved) < 0.1
    with pytest.raises(InputError, match="nothing"):
        begin(replace(config, begin_with=str(tmp_path / "nothing")))


def test_a_frozen_encoder_is_the_target_encoder_and_the_predictor_hardly_notices():
    torch.manual_seed(0)
    model = VJEPA(TINY).requires_grad_(True)
    with torch.no_grad():  # the context encoder says the same in other words
        model.encoder.norm.weight.uniform_(0.5, 2)
        model.encoder.norm.bias.uniform_(-1, 1)
    clips = torch.randn(4, 3, TINY.num_frames, TINY.image_size, TINY.image_size)
    order = torch.randperm(TINY.num_tokens).expand(4, -1)
    mask = MaskBatch(order[:, :9].contiguous(), order[:, 9:].contiguous(), "long")

    def predicted():
        return model.predict(model.encode_context(clips, mask.context_idx), *mask)

    before = predicted()
    freeze_encoder(model, clips)
    torch.testing.assert_close(predicted(), before, atol=1e-4, rtol=0)
    model(clips, [mask]).mean().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert model.predictor.embed.weight.grad is not None
    same = zip(model.encoder.parameters(), model.target_encoder.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in same)


def test_what_layer_normed_features_cannot_tell_gets_no_weight():
    """They add up to nothing; weights of hundreds, which cancel, do not survive float16."""
    torch.manual_seed(0)
    model = VJEPA(TINY)
    model.encoder.load_state_dict(VJEPA(TINY).encoder.state_dict())  # another one
    clips = torch.randn(8, 3, TINY.num_frames, TINY.image_size, TINY.image_size)
    before = model.predictor.embed.weight.norm()
    freeze_encoder(model, clips)
    assert model.predictor.embed.weight.norm() < 10 * before


@pytest.mark.parametrize("name", ["vjepa1-a/checkpoint.pth.tar", "vjepa2-a"])
def test_a_predictor_is_trained_alone(golden, tmp_path, name):
    before = checkpoint.load(golden / name, device="cpu", dtype=torch.float32)
    shape = before.config
    rng = np.random.default_rng(0)
    size = (4, shape.num_frames, shape.image_size, shape.image_size, 3)
    np.save(tmp_path / "clips.npy", rng.integers(0, 256, size, np.uint8))
    settings = RECIPES["predictor"] | {"data": str(tmp_path / "clips.npy"), "warmup": 1}
    config = PretrainConfig(
        out=tmp_path / "run", begin_with=str(golden / name), steps=2, batch_size=2, **settings
    )
    after = checkpoint.load(pretrain(config, *begin(config)), device="cpu", dtype=torch.float32)
    clip = torch.randn(1, 3, shape.num_frames, shape.image_size, shape.image_size)
    half = {"atol": 5e-3, "rtol": 0}  # it is kept in half precision
    torch.testing.assert_close(after.encode(clip), before.encode(clip), **half)
    assert not torch.equal(after.predictor.proj.weight, before.predictor.proj.weight)
    with pytest.raises(InputError, match="name one, --from"):
        begin(replace(config, begin_with=None))


def test_what_cannot_be_gone_on_with_is_a_sentence(golden):
    with pytest.raises(InputError, match="not published") as caught:
        go_on_from(str(golden / "vjepa21-a/checkpoint.pt"))
    assert "\n" not in str(caught.value)


def test_from_stands_for_the_rates_that_training_ended_with():
    words = expanded(["--from", "vitl16", "--lr", "1e-5"])
    assert words[-4:] == ["--from", "vitl16", "--lr", "1e-5"]
    given = dict(pairwise(words))
    assert given["--objective"] == "features" and given["--start-lr"] == "1e-06"
    with pytest.raises(InputError, match="no recipe 'x'; choose one of demo, physics, predictor"):
        expanded(["--recipe", "x"])
