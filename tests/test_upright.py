"""What a frame becomes: sizes with square pixels, the centre in its place."""

import numpy as np
import pytest

from vjepa.data.clips import square
from vjepa.reading.upright import displayed_size, turn


@pytest.mark.parametrize(
    ("height", "width", "aspect"), [(405, 720, 1), (720, 405, 1), (480, 720, 8 / 9), (100, 100, 2)]
)
@pytest.mark.parametrize("side", [31, 64, 96])
def test_what_lies_beside_the_centre_is_the_same_on_both_sides(height, width, aspect, side):
    high, wide = displayed_size(height, width, aspect, side)
    assert min(high, wide) == side and (high - side) % 2 == (wide - side) % 2 == 0
    assert high / wide == pytest.approx(height / (width * aspect), rel=1.01 / side)


def test_a_small_frame_is_left_as_it_is():
    assert displayed_size(48, 64, 1.0, 112) == (48, 64)
    assert displayed_size(48, 64, 1.5, 112) == (48, 96)


def test_turning_is_a_group():
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    clockwise = (0, 1, -1, 0)
    np.testing.assert_array_equal(turn(image, clockwise), np.rot90(image, -1))
    four_times = image
    for _ in range(4):
        four_times = turn(four_times, clockwise)
    np.testing.assert_array_equal(four_times, image)


def test_a_square_of_the_right_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    np.testing.assert_array_equal(square(image, 8), image[:, 2:10])
    np.testing.assert_array_equal(square(image, 8, place=1.0), image[:, 4:])
