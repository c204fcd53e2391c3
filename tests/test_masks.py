"""Masks: the paper's shapes, equal counts in a batch, and what a person may get wrong."""

import numpy as np
import pytest
import torch

from vjepa import masks
from vjepa.errors import InputError
from vjepa.tokens import split, to_mask

GRID = (8, 14, 14)


def collate_truncating(
    masks: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The official batching, for comparison: rows cut to the shortest in (t, h, w) order.

    What is cut is always the end of the clip: at 224 px and batch 24 a fourth of all tokens is
    in neither set.
    """
    hidden = masks.flatten(1)
    return _first(~hidden), _first(hidden)


def _first(members: torch.Tensor) -> torch.Tensor:
    """The first members of each row, as many as the shortest row has."""
    order = members.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return order[:, : int(members.sum(1).min())]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("kind", "hidden"), [("short", 0.62), ("long", 0.82)])
def test_multiblock_hides_what_the_published_masks_hide(kind, hidden):
    drawn = [masks.multiblock(GRID, kind, generator=generator(seed)) for seed in range(300)]
    share = torch.stack(drawn).float().mean().item()
    assert share == pytest.approx(hidden, abs=0.02)


@pytest.mark.parametrize("kind", masks.KINDS)
def test_multiblock_spans_all_time(kind):
    mask = masks.multiblock(GRID, kind, generator=generator())
    assert (mask == mask[0]).all()


def test_blocks_have_the_stated_area_and_aspect():
    shapes = [masks.block_shape(14, 14, 0.15, generator(seed)) for seed in range(100)]
    assert all(abs(rows * columns - 29) <= 5 for rows, columns in shapes)
    # .75 to 1.5 before the sides are rounded
    assert all(0.5 <= rows / columns <= 2 for rows, columns in shapes)
    assert len(set(shapes)) > 1


def test_split_partitions_the_grid():
    mask = masks.random(GRID, 0.3, generator=generator())
    context_idx, target_idx = split(mask)
    together = torch.cat([context_idx, target_idx], dim=1).sort(dim=1).values
    assert torch.equal(together[0], torch.arange(mask.numel()))
    assert torch.equal(to_mask(target_idx[0], GRID), mask)


@pytest.mark.parametrize("name", masks.MASKS)
def test_every_preset_hides_something_and_leaves_something(name):
    for grid in (GRID, (8, 7, 7), (4, 4, 4)):
        mask = masks.make(name, grid, generator())
        assert mask.shape == grid and mask.any() and not mask.all()


def test_future_hides_the_end_alone():
    mask = masks.future(GRID, keep=3)
    assert not mask[:3].any() and mask[3:].all()


def test_collate_draws_only_members_without_repeats():
    drawn = masks.multiblock_batch(GRID, 24, "short", generator=generator())
    context_idx, target_idx = masks.collate(drawn, generator=generator(1))
    hidden = drawn.flatten(1)
    assert not hidden.gather(1, context_idx).any() and hidden.gather(1, target_idx).all()
    for idx in (context_idx, target_idx):
        assert (idx.diff(dim=1) > 0).all()


def test_collate_keeps_the_end_of_the_clip_which_truncation_loses():
    """Share of the last time step's tokens in either set, on average over a batch of 24."""
    drawn = masks.multiblock_batch(GRID, 24, "short", generator=generator())

    def kept_of_last_step(indices):
        return sum((idx // (14 * 14) == 7).sum().item() for idx in indices) / (24 * 14 * 14)

    ours = kept_of_last_step(masks.collate(drawn, generator=generator()))
    official = kept_of_last_step(collate_truncating(drawn))
    assert ours > 0.6
    assert official < 0.4


def test_truncation_is_the_official_one():
    drawn = masks.multiblock_batch(GRID, 4, "long", generator=generator())
    context_idx, _ = collate_truncating(drawn)
    for row, mask in zip(context_idx, drawn, strict=True):
        visible = (~mask.flatten()).nonzero().flatten()
        assert torch.equal(row, visible[: len(row)])


def test_max_targets_bounds_the_targets():
    drawn = masks.multiblock_batch(GRID, 4, "long", generator=generator())
    assert masks.collate(drawn, generator=generator(), max_targets=50)[1].shape == (4, 50)


def test_the_generator_decides():
    assert torch.equal(*(masks.multiblock(GRID, "long", generator=generator(3)) for _ in "ab"))


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.ones((2, 3, 3), bool), "shape"),
        (np.zeros(GRID, bool), "empty"),
        (np.ones(GRID, bool), "whole clip"),
    ],
)
def test_a_bad_mask_gets_one_sentence(mask, says):
    with pytest.raises(InputError, match=says) as caught:
        masks.check(mask, GRID)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_told_the_known_ones():
    with pytest.raises(InputError, match="short, long"):
        masks.multiblock(GRID, "medium", generator=generator())
    with pytest.raises(InputError, match="tube"):
        masks.make("ring", GRID, generator())


def test_boxes_over_a_part_of_the_time_leave_what_they_hide_seen_at_another_moment():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        drawn = masks.span_batch(GRID, 4, generator=generator)
        assert drawn.flatten(1).any(1).all()
        assert not drawn.all(1).any()  # no place is hidden through all time


def test_boxes_around_what_moves_hide_it_and_all_hide_as_much():
    motion = torch.zeros(40, *GRID)
    motion[:, :, 5, 1] = 1.0  # a thing that turns where it is
    motion[20:] = 0  # and clips of which nothing is known
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        drawn = masks.span_batch(GRID, 40, generator=generator, motion=motion)
        assert len(drawn.flatten(1).sum(1).unique()) == 1
        assert drawn[:20, :, 5, 1].any(1).all()
        assert len(torch.stack([m.any(0).float() for m in drawn[20:]]).unique(dim=0)) > 2


def test_training_draws_the_kinds_in_the_shares_asked_for():
    def long_masks(**shares):
        generator = torch.Generator().manual_seed(1)
        return [
            to_mask(masks.draw_masks(GRID, 2, 10**6, generator, **shares)[1].target_idx[0], GRID)
            for _ in range(100)
        ]

    paper, people = long_masks(), long_masks(future=0.3, span=0.4)
    through_all_time = [mask.any(0).equal(mask.all(0)) for mask in paper]
    assert sum(through_all_time) > 50  # but for what a batch of equal lengths drops
    hides_the_last_step_whole = sum(bool(mask[-1].all()) for mask in people)
    assert 15 <= hides_the_last_step_whole <= 45
