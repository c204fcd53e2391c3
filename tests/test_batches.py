"""Clips and masks of a run depend on seed and number, and on nobody who makes them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny import TINY

from vjepa import config as configs
from vjepa.batches import BatchStream, FirstClips, TrainingBatches, count_workers
from vjepa.data.sources import StoredClips, Videos, open_source
from vjepa.errors import InputError
from vjepa.recipes import PretrainConfig


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setitem(configs.SHAPES, "tiny", TINY)
    return PretrainConfig(
        out=tmp_path / "run", preset="tiny", steps=5, batch_size=8, precision="no", max_targets=0
    )


@pytest.fixture
def stored(tmp_path):
    """Twelve clips, each of one grey."""
    clips = np.zeros((12, 4, 48, 48, 3), np.uint8)
    clips += np.arange(12, dtype=np.uint8)[:, None, None, None, None]
    np.save(tmp_path / "clips.npy", clips)
    return StoredClips(tmp_path / "clips.npy", TINY)


def made_by(processes, source, config):
    """All batches of a run, made by so many processes: those of each step together."""
    together = config.clips_together(processes)
    made = TrainingBatches(source, config, TINY, together)
    orders = [list(FirstClips(config, 0, together, p, processes)) for p in range(processes)]
    assert len({len(order) for order in orders}) == 1
    firsts = sorted(first for order in orders for first in order)
    return [made[first] for first in firsts]


def rows(batches, part):
    """Clips, or the rows of a mask's indices, one by one."""
    for batch in batches:
        yield from part(batch)


def test_processes_share_the_clips_and_masks_of_one(stored, config):
    alone = made_by(1, stored, config)
    assert len(alone) == 5 and len(alone[0].frames) == 8
    for processes in (2, 4):
        shared = made_by(processes, stored, config)
        assert len(shared[0].frames) == 8 // processes
        for part in (
            lambda batch: batch.frames,
            *(lambda batch, k=k: batch.masks[k].context_idx for k in (0, 1)),
            *(lambda batch, k=k: batch.masks[k].target_idx for k in (0, 1)),
        ):
            pairs = zip(rows(alone, part), rows(shared, part), strict=True)
            assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_masks_around_what_moves_are_those_of_one_process(config, tmp_path):
    """Though a process sees what moves in its own clips alone."""
    generator = np.random.default_rng(0)
    clips = np.zeros((12, 4, 48, 48, 3), np.uint8)
    for clip in clips:
        top, left = generator.integers(0, 40, 2)
        clip[1::2, top : top + 8, left : left + 8] = 255
    np.save(tmp_path / "moving.npy", clips)
    moving, config = (
        StoredClips(tmp_path / "moving.npy", TINY),
        replace(config, future=0.0, span=1.0),
    )
    alone, shared = made_by(1, moving, config), made_by(2, moving, config)
    for place in (0, 1):
        ours = list(rows(alone, lambda batch, k=place: batch.masks[1][k]))
        theirs = list(rows(shared, lambda batch, k=place: batch.masks[1][k]))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    still = made_by(1, StoredClips(_stilled(tmp_path, clips), TINY), config)
    assert any(
        not torch.equal(a.masks[1].target_idx, b.masks[1].target_idx)
        for a, b in zip(alone, still, strict=True)
    )


def _stilled(folder, clips):
    np.save(folder / "still.npy", np.zeros_like(clips))
    return folder / "still.npy"


def test_a_process_makes_its_own_clips_and_no_others(config):
    wide = replace(config, batch_size=8 * 24, mask_batch=24)
    for process in range(8):
        own = [n for first in FirstClips(wide, 3, 24, process, 8) for n in range(first, first + 24)]
        begin = 3 * 192 + process * 24
        assert own[:24] == list(range(begin, begin + 24)) and len(own) == 2 * 24


def test_every_epoch_has_every_clip_once(stored, config):
    greys = [int(c[0, 0, 0, 0]) for batch in made_by(1, stored, config) for c in batch.frames]
    epochs = [greys[:12], greys[12:24], greys[24:36]]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_long_context_does_not_shrink_with_the_batch(stored, config):
    """Cut to the shortest of all clips, it would: from 358 tokens of 24 clips to 192 of 3,072."""
    sizes = {}
    for batch_size in (24, 3072):
        grown = replace(config, batch_size=batch_size, mask_batch=24)
        made = TrainingBatches(stored, grown, configs.SHAPES["vitl16"], 24)
        masks = [made._masks(step * batch_size)[1] for step in range(12)]
        sizes[batch_size] = [mask.context_idx.shape[1] for mask in masks]
    assert sizes[24] == sizes[3072]


def test_workers_change_nothing(stored, config):
    accelerator = Accelerator(cpu=True)
    streams = [
        BatchStream(stored, replace(config, workers=workers, steps=2), TINY, 0, accelerator)
        for workers in (0, 1)
    ]
    pairs = list(zip(*streams, strict=True))
    assert len(pairs) == 2
    for here, there in pairs:
        assert torch.equal(here.frames, there.frames)
        for ours, theirs in zip(here.masks, there.masks, strict=True):
            assert torch.equal(ours.context_idx, theirs.context_idx)
            assert torch.equal(ours.target_idx, theirs.target_idx)
            assert ours.mask_type == theirs.mask_type


def test_workers_are_as_many_as_cores_share(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert count_workers(3, "cuda", 32) == 3
    assert count_workers(-1, "cuda", 32) == 4
    assert count_workers(-1, "cpu", 1) == 0


@pytest.mark.parametrize(
    ("settings", "processes", "says"),
    [
        ({"batch_size": 9}, 2, "multiple of the 2 processes"),
        ({"batch_size": 8, "mask_batch": 3}, 1, "multiple of mask_batch"),
        ({"batch_size": 37}, 1, "multiple of mask_batch"),
        ({"batch_size": 8, "micro_batch": 3}, 1, "must divide 8"),
        ({"batch_size": 8, "micro_batch": 8}, 2, "must divide 4"),
        ({"crop_scale": (0.0, 1.0)}, 1, "crop_scale"),
        ({"max_targets": -1}, 1, "max_targets"),
    ],
)
def test_numbers_that_do_not_divide_are_a_sentence(tmp_path, settings, processes, says):
    with pytest.raises(InputError, match=says) as caught:
        PretrainConfig(out=tmp_path, **settings).clips_together(processes)
    assert "\n" not in str(caught.value)


def test_gradients_are_added_up_over_groups_that_fit(tmp_path):
    config = PretrainConfig(out=tmp_path, batch_size=3072, mask_batch=24)
    assert [config.clips_together(n) for n in (1, 8, 128, 256)] == [24, 24, 24, 12]
    assert PretrainConfig(out=tmp_path, batch_size=64).group == 32
    assert PretrainConfig(out=tmp_path, batch_size=100).group == 25


def test_broken_videos_are_replaced_and_told_of_once(make_video, tmp_path, config, caplog):
    make_video(np.full((40, 48, 64, 3), 200, np.uint8), name="bright.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    source = open_source(
        str(tmp_path), TINY, levels=(0,), device=torch.device("cpu"), fps=7.5, frame_step=0
    )
    with caplog.at_level(logging.WARNING):
        stream = BatchStream(source, replace(config, steps=2), TINY, 0, Accelerator(cpu=True))
        batches = list(stream)
    assert all(batch.frames.float().mean() > 150 for batch in batches)
    assert sum(len(batch.broken) for batch in batches) > 1
    assert sum("broken.mp4 is passed over" in record.message for record in caplog.records) == 1
    broken = Videos([tmp_path / "broken.mp4"], TINY)
    with pytest.raises(InputError, match="Many videos cannot be read") as caught:
        next(BatchStream(broken, config, TINY, 0, Accelerator(cpu=True)))
    assert "\n" not in str(caught.value)


def test_crops_come_from_the_whole_frame_at_its_own_resolution(make_video, config):
    """A square that was cut first would never show the sides, and half of the lines."""
    frames = np.zeros((20, 96, 240, 3), np.uint8)
    frames[:, :, :60, 0] = frames[:, :, 180:, 2] = 250
    source = Videos([make_video(frames)], TINY)
    made = TrainingBatches(source, replace(config, crop_scale=(0.3, 0.5)), TINY, 8)
    clips = torch.cat([made[8 * step].frames for step in range(3)]).float()
    reds, blues = (clips[..., channel].amax((1, 2, 3)) for channel in (0, 2))
    assert (reds > 150).any() and (blues > 150).any()
    assert (clips - clips[:, :1]).abs().max() < 12  # a still video: the same crop for all frames


@pytest.mark.parametrize(("rate", "step"), [({"frame_step": 3}, 3), ({"fps": 15.0}, 2)])
def test_frames_are_a_step_or_a_time_apart(make_video, config, rate, step):
    frames = np.zeros((60, 48, 48, 3), np.uint8)
    frames += (4 * np.arange(60, dtype=np.uint8))[:, None, None, None]
    source = Videos([make_video(frames)], TINY, **rate)
    clips = TrainingBatches(source, config, TINY, 8)[0].frames.float().mean((2, 3, 4))
    gaps = clips.diff(dim=1) / 4
    torch.testing.assert_close(gaps, torch.full_like(gaps, float(step)), atol=0.5, rtol=0)
    assert clips[:, 0].std() > 4  # starts differ


@pytest.mark.parametrize("data", ["world", "pans", "world+bundled"])
def test_drawn_clips_are_data_like_any_other(config, data):
    source = open_source(data, TINY, levels=(0, 2), device=torch.device("cpu"))
    made = TrainingBatches(source, config, TINY, 2)
    first, again, other = made[4].frames, made[4].frames, made[6].frames
    assert first.shape == (2, 4, 48, 48, 3)
    assert torch.equal(first, again) and not torch.equal(first, other)
