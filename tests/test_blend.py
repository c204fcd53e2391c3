"""Overlapping tubelets: blending is exact where all agree, and leaves no jump where they do not."""

import pytest
import torch
from einops import rearrange
from torch import Generator

from decoder.network import blend, inner
from vjepa.tokens import split

GRID, FRAMES, SIDE = (2, 4, 5), 2, 8


def random_mask(seed=0, share=0.5):
    return torch.rand(GRID, generator=Generator().manual_seed(seed)) < share


def cut_wide(picture, margin):
    """Tubelets with margins, cut from a picture (T, H + 2 margin, W + 2 margin)."""
    outer = SIDE + 2 * margin
    windows = picture.unfold(2, outer, SIDE).unfold(3, outer, SIDE)  # (3, T, h, w, k, l)
    return rearrange(windows, "c (t f) h w k l -> (t h w) (c f k l)", f=FRAMES)


@pytest.mark.parametrize("margin", [1, 2, 4])
def test_tokens_that_agree_give_the_very_picture(margin):
    t, h, w = GRID
    shape = (3, t * FRAMES, h * SIDE + 2 * margin, w * SIDE + 2 * margin)
    picture = torch.randn(shape, generator=Generator().manual_seed(1))
    _, target_idx = split(random_mask())
    wide = cut_wide(picture, margin)[target_idx]
    alone = inner(wide, FRAMES, margin)
    torch.testing.assert_close(blend(wide, target_idx, GRID, FRAMES, margin), alone)
    plain = picture[:, :, margin : h * SIDE + margin, margin : w * SIDE + margin]
    torch.testing.assert_close(alone[0], cut_wide(plain, 0)[target_idx[0]])


def test_between_tokens_that_differ_there_is_a_slope_and_no_jump():
    """Two neighbours, one black and one white: from one to the other in small steps."""
    margin, outer = 4, 16
    target_idx = torch.tensor([[0, 1]])
    wide = torch.stack([torch.zeros(3 * FRAMES * outer**2), torch.ones(3 * FRAMES * outer**2)])
    row = blend(wide[None], target_idx, GRID, FRAMES, margin)
    row = row.view(2, 3, FRAMES, SIDE, SIDE)[:, 0, 0, 3].flatten()  # a line through both
    assert row[0] == 0 and row[-1] == 1
    assert row.diff().min() >= 0 and row.diff().max() < 2 / (2 * margin)


def test_what_is_visible_draws_nothing():
    """A token without hidden neighbours keeps its own pixels to the rim."""
    margin = 4
    wide = torch.randn(1, 1, 3 * FRAMES * 16**2, generator=Generator().manual_seed(2))
    target_idx = torch.tensor([[7]])
    torch.testing.assert_close(
        blend(wide, target_idx, GRID, FRAMES, margin), inner(wide, FRAMES, margin)
    )
