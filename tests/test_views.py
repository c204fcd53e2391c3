"""Several views of a video: spread over it, cut as they should be, and broken files left out."""

import logging
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from numbered import numbered_frames, numbers_shown
from PIL import Image
from tiny import TINY

from vjepa.data import views
from vjepa.data.clips import read_frames, square
from vjepa.data.datasets import LabelledVideos
from vjepa.data.views import clip_indices, read_views, readable
from vjepa.errors import InputError

SIXTEEN = replace(TINY, image_size=64, num_frames=16, patch_size=16)


def shown(frames: np.ndarray) -> list[list[int]]:
    """Frame numbers of the centre view of each clip."""
    return [numbers_shown(clip[0]) for clip in frames]


def dataset(paths, source) -> LabelledVideos:
    return LabelledVideos(tuple(paths), np.full(len(paths), -1), (), source)


@pytest.fixture
def folder(make_video, tmp_path):
    """Twenty videos, the number of each in its only picture; 3 and 11 are broken."""
    paths = [make_video(numbered_frames(i + 1)[i:], name=f"{i:02}.mp4") for i in range(20)]
    paths[3].write_bytes(b"no video")
    paths[11].unlink()
    return dataset(paths, tmp_path)


def test_clips_are_spread_from_the_first_frame_to_the_last(make_video):
    frames = read_views(make_video(numbered_frames(200)), SIXTEEN, clips=3, views=1)
    assert shown(frames) == [[*range(start, start + 61, 4)] for start in (0, 69, 139)]


def test_a_single_clip_is_the_middle_and_reads_as_read_frames_does(cup_clip):
    wide = read_views(cup_clip, TINY, clips=1, views=3)
    indices = clip_indices(109, 13, TINY.num_frames, 1)[0]
    assert indices[0] + indices[-1] == pytest.approx(108, abs=1)
    np.testing.assert_array_equal(wide[0, 0], read_frames(cup_clip, 48, 4, start=indices[0] / 13))


def test_the_first_of_three_views_is_the_only_one_of_one(cup_clip):
    three = read_views(cup_clip, TINY, clips=2, views=3)
    np.testing.assert_array_equal(three[:, :1], read_views(cup_clip, TINY, clips=2, views=1))


def test_the_other_views_are_the_ends_of_the_longer_side(make_video):
    colours = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200)], np.uint8)
    wide = np.tile(colours.repeat(64, axis=0), (4, 64, 1, 1))
    for name, frames in (("wide.mp4", wide), ("tall.mp4", wide.swapaxes(1, 2).copy())):
        found = read_views(make_video(frames, name=name), TINY, clips=1)[0]
        for view, colour in zip(found, colours[[1, 0, 2]], strict=True):
            assert np.abs(view[:, 6:-6, 6:-6].astype(int) - colour).max() < 20


def test_views_of_a_square_video_are_the_same(make_video):
    frames = read_views(make_video(numbered_frames(20)), TINY)
    np.testing.assert_array_equal(frames[:, 1:], frames[:, :1].repeat(2, axis=1))


@pytest.mark.parametrize("length", [1, 5, 16, 33, 61, 62, 300])
def test_clips_reach_from_end_to_end_with_the_same_steps(length):
    indices = clip_indices(length, 30, 16, clips=4)
    assert indices[0, 0] == indices.min() == 0
    assert indices[-1, -1] == indices.max() == length - 1
    steps = np.diff(indices)
    assert (steps == steps[0]).all() and steps.min() >= 0
    assert np.ptp(np.diff(indices[:, 0])) <= 1


def test_a_short_video_gets_a_smaller_step_and_then_repeats_with_a_warning(make_video, caplog):
    small = shown(read_views(make_video(numbered_frames(33)), SIXTEEN, views=1))
    assert small == [[*range(0, 31, 2)], [*range(2, 33, 2)]]
    assert not caplog.records
    tiny = shown(read_views(make_video(numbered_frames(5)), SIXTEEN, views=1))
    assert tiny[0] == tiny[1] == sorted(tiny[0]) and set(tiny[0]) == set(range(5))
    assert "has 5 frames, fewer than the 16" in caplog.text


def test_every_frame_is_cropped_once_and_forward(make_video, monkeypatch):
    seen = []

    def watched(image, size, place):
        seen.append(numbers_shown(image[None, :, (image.shape[1] - 64) // 2 :][:, :, :64])[0])
        return square(image, size, place)

    monkeypatch.setattr(views, "square", watched)
    read_views(make_video(numbered_frames(100)), SIXTEEN, clips=10, views=1)
    assert seen == sorted(set(seen)) and len(seen) < 100


def test_clips_of_an_uneven_recording_are_spread_in_time(make_video):
    slow_then_fast = [*range(0, 400, 10), *range(400, 460)]  # 40 frames in 13 s, then 60 in 2 s
    video = make_video(numbered_frames(100), pts=slow_then_fast)
    first, last = shown(read_views(video, SIXTEEN, clips=2, views=1))
    assert first[0] == 0 and first[-1] == 6
    assert last[0] in (39, 40) and last[-1] >= 90


def test_a_still_image_is_a_video_that_stands(tmp_path):
    Image.fromarray(numbered_frames(8)[5]).save(tmp_path / "five.png")
    frames = read_views(tmp_path / "five.png", SIXTEEN)
    assert frames.shape == (2, 3, 16, 64, 64, 3)
    assert (frames == frames[:1, :1, :1]).all() and numbers_shown(frames[0, 0]) == [5] * 16


@pytest.mark.parametrize(("clips", "count"), [(0, 1), (1, 2), (1, 0)])
def test_counts_that_make_no_views_are_refused(cup_clip, folder, clips, count):
    with pytest.raises(InputError, match="1 or 3 views"):
        read_views(cup_clip, TINY, clips, count)
    with pytest.raises(InputError, match="1 or 3 views"):
        readable(folder, TINY, clips, count)


def test_broken_videos_are_named_counted_and_left_out(folder, caplog):
    reading = readable(folder, SIXTEEN, clips=1, views=1)
    for _ in range(2):
        caplog.clear()
        found = {index: shown(frames)[0][0] for index, frames in reading}
        assert list(found.items()) == [(i, i) for i in range(20) if i not in (3, 11)]
        assert [path for path, _ in reading.broken] == [folder.paths[3], folder.paths[11]]
        left_out = [record for record in caplog.records if "left out" in record.msg]
        assert [(record.levelno, record.args[0]) for record in left_out] == [
            (logging.WARNING, folder.paths[3]),
            (logging.WARNING, folder.paths[11]),
        ]


def test_a_surprising_error_is_not_fatal_either(folder, monkeypatch):
    def fail(path, *_):
        if path == folder.paths[5]:
            raise MemoryError
        return np.zeros((1, 1, 4, 48, 48, 3), np.uint8)

    monkeypatch.setattr(views, "read_views", fail)
    reading = readable(folder, TINY, 1, 1)
    assert len(list(reading)) == 19
    assert reading.broken == [(folder.paths[5], "MemoryError")]


def test_one_may_stop_early(folder):
    assert [index for index, _ in islice(readable(folder, TINY, 1, 1), 4)] == [0, 1, 2, 4]


def test_a_dataset_of_broken_videos_is_refused(folder):
    broken = dataset([folder.paths[3], folder.paths[11]], folder.origin)
    with pytest.raises(InputError, match=r"None of the 2 videos .* is no video"):
        list(readable(broken, TINY))
