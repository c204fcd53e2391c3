"""Scores: what they say of known pictures, and that fills see no hidden pixel."""

import numpy as np
import pytest

from decoder.scoring import metrics


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)


@pytest.fixture
def hidden():
    mask = np.zeros((4, 24, 24), bool)
    mask[:, 8:16, 8:16] = True
    mask[2] = True
    return mask


def test_psnr_of_a_known_error(truth, hidden):
    off = np.where(hidden[..., None], truth ^ 1, 255 - truth)
    assert metrics.psnr(off, truth, hidden) == pytest.approx(20 * np.log10(255), abs=1e-3)


def test_ssim_and_sharpness_of_itself_and_of_grey(truth, hidden):
    grey = np.full_like(truth, 128)
    assert metrics.ssim(truth, truth, hidden) == pytest.approx(1)
    assert metrics.ssim(grey, truth, hidden) < 0.2
    assert metrics.sharpness(grey, hidden) == 0 < metrics.sharpness(truth, hidden)


def test_fills_keep_what_is_visible_and_see_nothing_hidden(truth, hidden):
    other = np.where(hidden[..., None], 255 - truth, truth)
    for name, fill in metrics.trivial_fills(truth, hidden).items():
        np.testing.assert_array_equal(fill[~hidden], truth[~hidden])
        np.testing.assert_array_equal(fill, metrics.trivial_fills(other, hidden)[name])


def test_temporal_copy_takes_the_nearest_visible_moment(truth, hidden):
    fill = metrics.trivial_fills(truth, hidden)["temporal_copy"]
    np.testing.assert_array_equal(fill[2, :8], truth[1, :8])


def test_spread_where_the_error_is(truth, hidden):
    rng = np.random.default_rng(1)
    scale = np.linspace(0, 60, 24)[None, None, :, None]
    noise = rng.normal(size=(9, *truth.shape)) * scale
    samples = (np.full(truth.shape, 128) + noise).clip(0, 255).astype(np.uint8)
    assert metrics.spread_error_correlation(samples[1:], samples[0], hidden) > 0.3
    same = np.repeat(samples[:1], 3, axis=0)
    assert metrics.spread_error_correlation(same, truth, hidden) == 0


def test_the_spread_is_the_deviation_over_seeds_and_the_error_that_of_their_mean(truth):
    middle = truth.astype(int).clip(10, 245)
    samples = np.stack([middle - 10, middle + 10]).astype(np.uint8)
    np.testing.assert_allclose(metrics.spread_map(samples), 10)
    np.testing.assert_allclose(metrics.error_map(samples, truth), np.abs(middle - truth).mean(-1))
    one = np.repeat(truth[None], 3, axis=0)
    assert not metrics.spread_map(one).any() and not metrics.error_map(one, truth).any()


def test_error_by_spread_sorts_pixels_and_keeps_their_means(truth, hidden):
    rng = np.random.default_rng(2)
    samples = rng.integers(0, 256, (5, *truth.shape), dtype=np.uint8)
    spread, error = metrics.error_by_spread(samples, truth, hidden, parts=4)
    assert (np.diff(spread) > 0).all()
    assert error.mean() == pytest.approx(metrics.error_map(samples, truth)[hidden].mean(), rel=1e-2)


def test_speckle_is_what_deviates_in_flat_hidden_places(hidden):
    generator = np.random.default_rng(0)
    flat = np.full((4, 24, 24, 3), 100, np.uint8)
    noise = generator.integers(-9, 10, (4, 24, 24, 1))
    speckled = np.where(hidden[..., None], flat + noise, flat).astype(np.uint8)
    assert metrics.speckle(flat, flat, hidden) == 0
    assert metrics.speckle(speckled, flat, hidden) == pytest.approx(noise.std(), rel=0.2)
    assert metrics.speckle(np.where(hidden[..., None], flat, speckled), flat, hidden) == 0
    rough = generator.integers(0, 256, flat.shape, dtype=np.uint8)
    assert metrics.speckle(flat, rough, hidden) is None
