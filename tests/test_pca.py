"""Principal components: their signs and colours stay whatever does not change the tokens."""

import numpy as np
import pytest
import torch

import vjepa
from vjepa.analysis import projections
from vjepa.errors import InputError


def lopsided(tokens=300, width=12, spread=(9.0, 5.0, 2.0), seed=0):
    """Tokens along known axes, each with its longer tail on the positive side."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(width, len(spread))))[0].T
    scores = (rng.exponential(size=(tokens, len(spread))) - 1) * spread
    return scores @ axes + 0.01 * rng.normal(size=(tokens, width)), axes


@pytest.fixture(scope="module")
def clip_features(cup_clip):
    """Features of a real clip after every layer, (L, N, D), by precision."""

    def features(dtype):
        model = vjepa.load("demo", device="cpu", dtype=dtype)
        clip = vjepa.read_clip(cup_clip, model.config, start=1.0)
        with torch.no_grad():
            layers = model.target_encoder.layers(clip[None])[:, 0].float()
        return torch.nn.functional.layer_norm(layers, layers.shape[-1:]).numpy()

    return {dtype: features(dtype) for dtype in (torch.float32, torch.bfloat16)}


def test_known_axes_are_found_with_their_sign_and_share():
    tokens, axes = lopsided()
    found = projections.fit_components(tokens)
    assert ((found.axes * axes).sum(axis=1) > 0.99).all()
    variance = found.scores(tokens).var(axis=0) / tokens.var(axis=0).sum()
    np.testing.assert_allclose(found.explained, variance, rtol=1e-9)
    assert found.explained.sum() == pytest.approx(1, abs=1e-3)


def test_colours_do_not_flip_between_precisions(clip_features):
    layers = zip(*clip_features.values(), strict=True)
    for exact, rounded in layers:
        one, other = projections.fit_components(exact), projections.fit_components(rounded)
        assert ((one.axes * other.axes).sum(axis=1) > 0.99).all()
        difference = one.colours(exact).astype(int) - other.colours(rounded)
        assert np.abs(difference).max() < 12  # of 255


def test_colours_do_not_flip_with_noise_order_or_another_run(clip_features):
    tokens = clip_features[torch.float32][-1]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(tokens))
    noise = 1e-3 * rng.normal(size=tokens.shape).astype(np.float32)
    colours = projections.fit_components(tokens).colours(tokens).astype(int)
    assert (projections.fit_components(tokens).colours(tokens) == colours).all()
    assert np.abs(projections.fit_components(tokens[order]).colours(tokens) - colours).max() <= 1
    assert np.abs(projections.fit_components(tokens + noise).colours(tokens) - colours).max() <= 3


def test_turning_the_features_changes_no_score(clip_features):
    """A solver's own rule, such as "the largest coefficient is positive", would fail."""
    tokens = clip_features[torch.float32][-1].astype(np.float64)
    for seed in range(5):
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(tokens.shape[1],) * 2))[0]
        turned = projections.fit_components(tokens @ turn).scores(tokens @ turn)
        np.testing.assert_allclose(
            turned, projections.fit_components(tokens).scores(tokens), atol=1e-8
        )


def test_without_a_longer_tail_the_sign_still_has_a_rule():
    half, _ = lopsided(tokens=100)
    tokens = np.concatenate([half, -half])
    order = np.random.default_rng(1).permutation(len(tokens))
    for features in (tokens, tokens[order], -tokens, tokens * (1 + 1e-12)):
        axes = projections.fit_components(features).axes
        assert (axes.max(axis=1) == np.abs(axes).max(axis=1)).all()
        np.testing.assert_allclose(axes, projections.fit_components(tokens).axes, atol=1e-9)


def test_one_wild_token_leaves_the_colours_of_the_others():
    tokens, _ = lopsided()
    calm = projections.fit_components(tokens)
    wild = tokens.copy()
    wild[0] += 5 * (calm.scores(tokens)[:, 0].max()) * calm.axes[0]
    spread = projections.fit_components(wild).colours(wild)[1:].std(axis=0)
    assert (spread > 0.7 * calm.colours(tokens)[1:].std(axis=0)).all()


def test_colours_of_few_distinct_tokens_are_numbers():
    tokens = np.repeat(np.eye(2, 6), 10, axis=0)
    assert len(np.unique(projections.fit_components(tokens).colours(tokens)[:, 0])) == 2


@pytest.mark.parametrize(
    ("features", "count", "sentence"),
    [
        (np.eye(3, 8), 3, "have 2 principal components, not 3"),
        (np.eye(8, 2), 3, "have 2 principal components, not 3"),
        (np.eye(8), 0, "not 0"),
        (np.ones((8, 8)), 3, "alike"),
    ],
)
def test_bad_input_gets_one_sentence(features, count, sentence):
    with pytest.raises(InputError, match=sentence):
        projections.fit_components(features, count)


def groups(count=3, size=20, width=8, seed=0):
    """Tokens in groups far apart, in mixed order, and the group of each."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(count), size))
    return 10 * np.eye(count, width)[labels] + rng.normal(size=(count * size, width)), labels


# umap looks for TensorFlow when it is imported; numba then compiles it for ten seconds
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
@pytest.mark.parametrize("method", projections.METHODS)
def test_neighbours_stay_neighbours_and_a_seed_gives_one_picture(method):
    tokens, labels = groups()
    points = projections.project(tokens, method, dims=2, seed=1)
    assert (points == projections.project(tokens, method, dims=2, seed=1)).all()
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + np.diag([np.inf] * len(points))
    assert (labels[distances.argmin(axis=1)] == labels).all()


def test_clusters_are_the_groups_and_keep_their_numbers():
    tokens, labels = groups()
    tokens, labels = tokens[labels.argsort()][:-5], np.sort(labels)[:-5]
    found = projections.clusters(tokens, 3, seed=0)
    assert len({*zip(labels, found, strict=True)}) == 3
    assert (np.diff(np.bincount(found)) <= 0).all()
    order = np.random.default_rng(0).permutation(len(tokens))
    shuffled = projections.clusters(tokens[order], 3, seed=0)
    assert (shuffled[labels[order] == 2] == 2).all()  # the smallest comes last


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: projections.project(x, "magic"), "no projection 'magic'"),
        (lambda x: projections.project(x[:3], "t-SNE"), "3 tokens"),
        (lambda x: projections.clusters(x, 1), "1 clusters"),
        (lambda x: projections.clusters(x[:3], 4), "4 clusters"),
    ],
)
def test_bad_projections_get_one_sentence(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(np.eye(8))
