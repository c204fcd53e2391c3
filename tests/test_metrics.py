"""Scores: what they say of known pictures, and that fills see no hidden pixel."""

import numpy as np
import pytest

from decoder import metrics


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
