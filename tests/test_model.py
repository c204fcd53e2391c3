"""The method's algebra: what is hidden stays hidden, what is frozen stays frozen."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from tiny import TINY

import vjepa
from vjepa import checkpoint, masks
from vjepa.config import ModelConfig
from vjepa.data.clips import bundled_clips, denormalize, normalize
from vjepa.errors import InputError
from vjepa.masks import MaskBatch
from vjepa.model import VJEPA, normalize_features, token_weights
from vjepa.tokens import (
    patchify,
    pixel_mask,
    position_table,
    split,
    stretch_positions,
    take,
    unpatchify,
)
from vjepa.transformer import attend
from vjepa.vjepa2 import VJEPA21, RotaryPositions, RotaryVJEPA, rotate

CONFIG = replace(TINY, image_size=32, num_frames=8, patch_size=8, depth=2, predictor_depth=2)
VJEPA21_LIKE = replace(TINY, family="vjepa2.1", depth=12, target_layers=4)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VJEPA(CONFIG)


@pytest.fixture
def clips():
    return torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask():
    return masks.random(CONFIG.grid, 0.5, generator=torch.Generator().manual_seed(2))


def both(mask):
    return tuple(idx.expand(2, -1) for idx in split(mask))


def test_patchify_is_the_convolution(model, clips):
    convolved = model.encoder.patch_embed(clips).flatten(2).transpose(1, 2)
    weight, bias = model.encoder.patch_embed.weight.flatten(1), model.encoder.patch_embed.bias
    torch.testing.assert_close(F.linear(patchify(clips, CONFIG), weight, bias), convolved)


def test_unpatchify_inverts_patchify(clips):
    assert torch.equal(unpatchify(patchify(clips, CONFIG), CONFIG), clips)


def test_hidden_pixels_cannot_reach_the_context(model, clips, mask):
    context_idx, _ = both(mask)
    hidden = pixel_mask(mask, CONFIG)
    changed = torch.where(hidden, torch.randn(clips.shape), clips)
    assert torch.equal(
        model.encode_context(clips, context_idx), model.encode_context(changed, context_idx)
    )
    assert not torch.equal(model.encode(clips), model.encode(changed))


def test_visible_pixels_do_reach_the_predictions(model, clips, mask):
    context_idx, target_idx = both(mask)

    def predictions(pixels):
        context = model.encode_context(pixels, context_idx)
        return model.predict(context, context_idx, target_idx)

    changed = torch.where(pixel_mask(mask, CONFIG), clips, clips + 1)
    assert not torch.allclose(predictions(clips), predictions(changed))


def test_no_gradient_reaches_the_target_encoder(model, clips, mask):
    context_idx, target_idx = both(mask)
    model.loss(clips, [MaskBatch(context_idx, target_idx, "long")]).mean().backward()
    assert all(p.grad is None for p in model.target_encoder.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_the_target_is_a_moving_average(model):
    before = copy.deepcopy(model.target_encoder)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    model.update_target(0.9)
    for new, old, online in zip(
        model.target_encoder.parameters(),
        before.parameters(),
        model.encoder.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * online)


def test_the_objective_is_l1_on_normed_targets(model, clips, mask):
    context_idx, target_idx = both(mask)
    loss = model.loss(clips, [MaskBatch(context_idx, target_idx, "short")])
    context = model.encode_context(clips, context_idx)
    predictions = model.predict(context, context_idx, target_idx, "short")
    targets = model.targets(clips, target_idx)
    assert targets.mean(-1).abs().max() < 1e-5
    torch.testing.assert_close(loss[0], (predictions - targets).abs().mean())


def test_rare_tokens_count_more(model, clips, mask):
    context_idx, target_idx = both(mask)
    batch = MaskBatch(context_idx, target_idx, "short")
    features = model.target_features(clips)
    weights = token_weights(features, 2.0)
    distance = (features - features.mean(1, keepdim=True)).abs().mean(-1)
    assert torch.equal(weights[0, :, 0].argsort(), distance[0].argsort())
    torch.testing.assert_close(weights.mean(1), torch.ones(len(clips), 1))
    errors = (
        model.predict(model.encode_context(clips, context_idx), *batch)
        - model.targets(clips, target_idx)
    ).abs()
    model.rarity = 2.0
    expected = (errors * take(weights, target_idx)).mean()
    torch.testing.assert_close(model.loss(clips, [batch])[0], expected)
    assert (expected - errors.mean()).abs() > 1e-4


def test_mask_tokens_differ_by_type(model, clips, mask):
    context_idx, target_idx = both(mask)
    with torch.no_grad():
        model.predictor.mask_tokens[1].normal_()
    context = model.encode_context(clips, context_idx)
    short, long = (model.predict(context, context_idx, target_idx, k) for k in ("short", "long"))
    assert not torch.allclose(short, long)
    with pytest.raises(InputError, match="mask token"):
        model.predict(context, context_idx, target_idx, "medium")


def test_order_of_the_context_does_not_matter(model, clips, mask):
    context_idx, target_idx = both(mask)
    shuffled = context_idx[:, torch.randperm(context_idx.shape[1])]
    predictions = [
        model.predict(model.encode_context(clips, idx), idx, target_idx)
        for idx in (context_idx, shuffled)
    ]
    torch.testing.assert_close(*predictions, atol=1e-5, rtol=1e-4)


def test_plain_attention_equals_the_fused_one():
    q, k, v = torch.randn(3, 2, 3, 20, 16).unbind(0)
    fused = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attend(q, k, v), fused)
    low = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    torch.testing.assert_close(low.float(), fused, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("room", [1, 20, 70, 10**6])
def test_attention_in_parts_is_the_same(monkeypatch, room):
    """However few weights the cache holds: a query at a time, some, a head, all heads."""
    q, k, v = torch.randn(3, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    whole = attend(q, k, v)
    monkeypatch.setattr("vjepa.transformer.CACHED_WEIGHTS", room)
    torch.testing.assert_close(attend(q, k, v), whole, atol=0.01, rtol=0.01)


def test_positions_are_unique_and_bounded():
    table = position_table((8, 14, 14), 1024)
    assert table.shape == (1568, 1024) and table.abs().max() <= 1
    assert len(torch.unique(table, dim=0)) == 1568


@pytest.mark.parametrize("shape", [(1, 8, 3, 32, 32), (1, 3, 8, 32, 30), (1, 3, 1, 32, 32)])
def test_what_is_no_clip_is_refused(model, shape):
    with pytest.raises(InputError, match=r"read_clip|multiple"):
        model.encode(torch.zeros(shape))


def test_positions_of_another_grid_are_interpolated():
    """In the middle of a table stretched threefold lie the very positions it was made of."""
    grid = (2, 3, 4)
    table = position_table(grid, 24)
    tripled = stretch_positions(table, grid, (6, 9, 12)).view(6, 9, 12, 24)
    torch.testing.assert_close(tripled[1::3, 1::3, 1::3], table.view(2, 3, 4, 24))
    assert stretch_positions(table, grid, grid) is table


def test_a_clip_of_another_size_is_encoded(model):
    clip = torch.randn(1, 3, 4, 48, 64, generator=torch.Generator().manual_seed(0))
    assert model.encode(clip).shape[1] == 2 * 6 * 8


def test_normalize_features_has_no_parameters():
    features = torch.randn(2, 5, 24) * 3 + 1
    normed = normalize_features(features)
    torch.testing.assert_close(normed.std(-1, unbiased=False), torch.ones(2, 5), atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [1, 2])
def test_targets_of_several_blocks_end_in_the_encoder_s_own(clips, count):
    torch.manual_seed(0)
    model = VJEPA(replace(CONFIG, target_layers=count))
    targets, width = model.target_features(clips), CONFIG.embed_dim
    assert targets.shape == (2, CONFIG.num_tokens, count * width)
    layers = model.target_encoder.layers(clips)[-count:]
    for i, layer in enumerate(layers):
        part = targets[..., i * width : (i + 1) * width]
        torch.testing.assert_close(part, normalize_features(layer))
    own = targets[..., model.config.last_layer]
    torch.testing.assert_close(own, normalize_features(model.encode(clips)))


def test_a_teacher_s_features_are_none_of_the_encoder_s_own():
    assert replace(VJEPA21_LIKE, target_layers=1, teacher_dim=80).last_layer is None


def test_the_deepest_of_four_layers_is_the_encoder_s_output():
    torch.manual_seed(0)
    model = VJEPA21(VJEPA21_LIKE).eval()
    small = torch.randn(1, 3, VJEPA21_LIKE.num_frames, *2 * [VJEPA21_LIKE.image_size])
    own = model.target_features(small)[..., VJEPA21_LIKE.last_layer]
    torch.testing.assert_close(own, normalize_features(model.encode(small)))


@pytest.mark.parametrize(
    "fields", [{"patch_size": 7}, {"num_heads": 5}, {"depth": 0}, {"image_size": "big"}]
)
def test_an_impossible_shape_is_refused(fields):
    with pytest.raises(InputError):
        ModelConfig.from_dict(CONFIG.to_dict() | fields)


def test_features_go_into_scikit_learn_as_they_are(model, clips):
    """From frames, from a clip, from several; from weights in low precision too."""
    frames = denormalize(clips)
    several = model.encode(frames.numpy())
    assert torch.equal(model.encode(frames[0].numpy()), several[0])
    torch.testing.assert_close(model.encode(normalize(frames)), several)
    one = model.bfloat16().encode(clips[0])
    assert (one.dtype, one.device.type) == (torch.float32, "cpu")
    assert PCA(2).fit_transform(one).shape == (CONFIG.num_tokens, 2)


def test_a_path_is_encoded_as_its_clip_is():
    model, path = vjepa.load("demo", device="cpu"), bundled_clips()["cup_tilt_zoom"]
    clip = vjepa.read_clip(path, model.config)
    assert torch.equal(model.encode(path), model.encode(clip))
    assert torch.equal(model.encode(str(path)), model.encode(clip[None])[0])
    with pytest.raises(InputError, match="no file"):
        model.encode("nowhere.mp4")


@pytest.mark.parametrize("family", ["vjepa", "vjepa-rotary", "vjepa2", "vjepa2.1"])
def test_predictions_lie_where_the_clip_s_tokens_do(tmp_path, family):
    """A clip of another size: as the model that was opened for that size says."""
    torch.manual_seed(0)
    deep = {"depth": 12, "target_layers": 4} if family == "vjepa2.1" else {}
    checkpoint.save(
        checkpoint.fresh(replace(CONFIG, family=family, **deep)), tmp_path, torch.float32
    )
    model = checkpoint.load(tmp_path, dtype=torch.float32)
    right = checkpoint.load(tmp_path, dtype=torch.float32, image_size=48, num_frames=6)
    clips, said = torch.randn(1, 3, 6, 48, 48), []
    idx = torch.randperm(right.config.num_tokens)[None]
    context_idx, target_idx = idx[:, :40], idx[:, 40:]
    for each, grid in ((right, None), (model, right.grid)):
        context = each.encode_context(clips, context_idx, grid)
        said.append(each.predict(context, context_idx, target_idx, grid=grid))
    torch.testing.assert_close(*said, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"grid=\(3, 6, 6\)"):
        model.encode_context(clips, context_idx)


def test_an_old_file_s_levels_are_the_target_layers():
    old = {name: value for name, value in CONFIG.to_dict().items() if name != "target_layers"}
    assert ModelConfig.from_dict(old | {"levels": 2}).target_layers == 2
    assert "levels" not in CONFIG.to_dict()


def test_rotary_positions_are_of_places_not_of_the_order_of_tokens(clips):
    """A predictor with rotary positions sees what moved along with its tokens' numbers alike."""
    torch.manual_seed(0)
    model = RotaryVJEPA(replace(CONFIG, family="vjepa-rotary")).eval()
    order = torch.randperm(CONFIG.num_tokens)
    (context_idx, target_idx), shuffle = (
        order[None].expand(2, -1).split([CONFIG.num_tokens - 5, 5], dim=1),
        torch.randperm(CONFIG.num_tokens - 5),
    )
    context = model.encode_context(clips, context_idx)
    predicted = model.predict(context, context_idx, target_idx)
    other = model.predict(context[:, shuffle], context_idx[:, shuffle], target_idx)
    torch.testing.assert_close(other, predicted, atol=1e-4, rtol=1e-4)
    position = model.predictor.position
    with_both = (position.rotary.table.shape[-1], position.added.table.shape[-1])
    dim = CONFIG.predictor_embed_dim
    assert with_both == (dim // CONFIG.predictor_num_heads, dim)
    _, turn = position(context.new_zeros(2, 1, dim), context_idx[:, :1])
    assert turn is not None


def test_rotated_products_depend_on_how_far_apart_two_tokens_are():
    config = replace(CONFIG, embed_dim=48, num_heads=2)
    table = RotaryPositions(config, 24).table
    t, h, w = config.grid
    query, key = torch.randn(1, 1, 1, 24), torch.randn(1, 1, 1, 24)

    def product(a, b):
        turned = (rotate(x, table[:, [[i]]]) for x, i in ((query, a), (key, b)))
        return (next(turned) * next(turned)).sum()

    torch.testing.assert_close(product(0, 1), product(h * w, h * w + 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(product(0, w + 1), product(1, w + 2), atol=1e-5, rtol=1e-4)
    assert abs(product(0, 1) - product(0, 2)) > 1e-4
