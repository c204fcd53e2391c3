"""Sources of training clips: lists and folders of videos, broken ones among them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY

from vjepa.data.clips import UNTRAINED, bundled_clips
from vjepa.data.sources import files_read, open_source
from vjepa.errors import InputError


def open_at(data):
    return open_source(str(data), TINY, levels=(0,), device=torch.device("cpu"))


def sample(path, count, seed=0):
    return open_at(path).sample(count, torch.Generator().manual_seed(seed))


@pytest.fixture
def videos(make_video):
    """A dark and a bright video."""
    dark, bright = (np.full((40, 48, 64, 3), grey, np.uint8) for grey in (40, 200))
    return make_video(dark, name="dark.mp4"), make_video(bright, name="bright.mp4")


def test_a_list_names_the_videos_that_are_drawn(videos, tmp_path):
    (tmp_path / "train.csv").write_text("bright.mp4 0\n")
    assert sample(tmp_path / "train.csv", 6).float().mean() > 150
    means = sample(tmp_path, 12).float().mean((1, 2, 3, 4))
    assert (means > 150).any() and (means < 100).any()


def test_broken_videos_are_passed_over(videos, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = ["broken.mp4 0", "dark.mp4 0", "gone.mp4 0", "bright.mp4 0"]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    clips = sample(tmp_path / "train.csv", 12)
    assert len(clips) == 12
    assert torch.equal(clips, sample(tmp_path / "train.csv", 12))


def test_only_broken_videos_are_one_sentence(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="cannot be read") as caught:
        sample(tmp_path, 2)
    assert "\n" not in str(caught.value)


def test_a_still_is_one_frame_of_a_clip(make_video):
    """Every frame is somewhere among those of the source, and they are not always the first."""
    ramp = (
        np.zeros((40, 48, 64, 3), np.uint8) + 6 * np.arange(40, dtype=np.uint8)[:, None, None, None]
    )
    path = make_video(ramp)
    folder = path.parent
    source = open_at(f"still:{folder}")
    drawn = source.sample(3, torch.Generator().manual_seed(0))
    clips = [
        source.clip(0, lambda frames: frames, torch.Generator().manual_seed(s)) for s in range(8)
    ]
    for clip in [*drawn.numpy(), *clips]:
        assert (clip == clip[:1]).all()
    assert len({int(clip[0].mean()) for clip in clips}) > 3
    assert next(files_read(f"still:{folder}+world")) == path
    moving = open_at(f"still:{folder}+{folder}").sample(40, torch.Generator().manual_seed(1))
    assert 5 < sum(bool((clip != clip[:1]).any()) for clip in moving) < 35


def test_a_mixture_draws_from_all_its_sources_as_often_as_told():
    mixed = open_at("3*world+pans")
    world, pans = mixed.sources
    drawn, black = [], torch.zeros(1, 1, 1, 1, 3, dtype=torch.uint8)
    world.sample = lambda n, generator: drawn.append(n) or black.expand(n, -1, -1, -1, -1)
    pans.sample = lambda n, generator: black.expand(n, -1, -1, -1, -1) + 1
    clips = mixed.sample(4000, torch.Generator().manual_seed(0))
    assert clips[..., 0].sum().item() == 4000 - drawn[0]
    assert 0.72 < drawn[0] / 4000 < 0.78


def test_a_mixture_repeats_with_its_generator():
    mixed = open_at("world+pans+bundled")
    first, again, other = (
        mixed.sample(6, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert first.shape == (6, TINY.num_frames, TINY.image_size, TINY.image_size, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pans_show_backdrops_that_move_and_nobody_who_acts():
    pans = open_at("pans")
    scene = pans.world.draw(4, torch.Generator().manual_seed(0))
    assert pans.world.render(scene).actor.any()
    frames = pans.sample(4, torch.Generator().manual_seed(0))
    absent = replace(scene, present=torch.zeros(4))
    assert not pans.world.render(absent).actor.any()
    assert torch.equal(frames, pans.world.render(absent).frames)
    assert (frames[:, 0] != frames[:, -1]).any()


def test_real_clips_that_test_are_never_trained_on():
    names = {path.stem for path in open_at("bundled").paths}
    assert names == {"cockatoo"}
    assert set(UNTRAINED) <= bundled_clips().keys() - names


@pytest.mark.parametrize(
    "data", ["world+", "0*world+pans", "x*world+pans", "world+nowhere", "-1*a+b"]
)
def test_what_is_no_mixture_gets_one_sentence(data):
    with pytest.raises(InputError) as caught:
        open_at(data)
    assert "\n" not in str(caught.value)
