"""Sources of training clips: lists and folders of videos, broken ones among them."""

import numpy as np
import pytest
import torch
from tiny import TINY

from vjepa.data.sources import open_source
from vjepa.errors import InputError


def open_videos(path):
    return open_source(str(path), TINY, levels=(0,), device=torch.device("cpu"))


def sample(path, count, seed=0):
    return open_videos(path).sample(count, torch.Generator().manual_seed(seed))


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
