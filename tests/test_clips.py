"""Reading clips: the right frames in the right order, the right pixels, and clear refusals."""

import math
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from numbered import numbered_frames, numbers_shown
from PIL import Image

from vjepa.data.clips import (
    bundled_clips,
    denormalize,
    normalize,
    read_clip,
    read_frames,
)
from vjepa.errors import InputError
from vjepa.reading.timing import frame_indices


def test_frames_are_the_ones_asked_for(make_video):
    video = make_video(numbered_frames(120), fps=30)
    assert numbers_shown(read_frames(video, 64, 16)) == list(range(0, 64, 4))
    assert numbers_shown(read_frames(video, 64, 16, start=1.5, fps=15)) == list(range(45, 77, 2))
    assert numbers_shown(read_frames(video, 64, 4, start=3.0, fps=30)) == [90, 91, 92, 93]


def test_half_size_keeps_the_order(make_video):
    assert numbers_shown(read_frames(make_video(numbered_frames(61)), 32, 16)) == [*range(0, 61, 4)]


def test_start_follows_the_time_stamps_of_an_uneven_recording(make_video):
    slow_then_fast = [*range(0, 40, 4), *range(40, 90)]  # 10 frames over 40 periods, then 50
    video = make_video(numbered_frames(60), fps=30, pts=slow_then_fast)
    assert numbers_shown(read_frames(video, 64, 1, start=20 / 30)) == [5]
    assert numbers_shown(read_frames(video, 64, 1, start=50 / 30)) == [20]


def test_a_short_video_gets_a_smaller_step(make_video):
    assert numbers_shown(read_frames(make_video(numbered_frames(33)), 64, 16)) == [*range(0, 31, 2)]


def test_a_very_short_video_repeats_neighbours_in_order(make_video):
    shown = numbers_shown(read_frames(make_video(numbered_frames(5)), 64, 16))
    assert shown == sorted(shown)
    assert set(shown) == set(range(5))


def test_one_frame_is_repeated(make_video):
    video = make_video(numbered_frames(4)[3:])
    assert numbers_shown(read_frames(video, 64, 16)) == [3] * 16
    assert numbers_shown(read_frames(video, 64, 1)) == [3]


@pytest.mark.parametrize(
    ("available", "native", "fps", "first"), [(300, 24, 7.5, 0), (61, 30, 7.5, 0), (40, 30, 1, 9)]
)
def test_indices_are_equally_spaced_and_inside(available, native, fps, first):
    indices = frame_indices(available, native, 16, first, fps)
    assert indices[0] == first
    assert indices[-1] < available
    assert len(set(np.diff(indices))) == 1
    assert len(set(indices)) == 16


def test_the_centre_is_kept(make_video):
    wide = np.zeros((2, 64, 128, 3), np.uint8)
    wide[:, :, 32:96] = (10, 200, 30)
    wide[:, :, :32] = wide[:, :, 96:] = 255
    frames = read_frames(make_video(wide), 64, 2)
    assert np.abs(frames[:, :, 4:-4].astype(int) - (10, 200, 30)).max() < 12

    tall = np.ascontiguousarray(wide.swapaxes(1, 2))
    frames = read_frames(make_video(tall, name="tall.mp4"), 64, 2)
    assert np.abs(frames[:, 4:-4].astype(int) - (10, 200, 30)).max() < 12


def test_shrinking_does_not_alias(make_video):
    stripes = np.zeros((2, 128, 128, 3), np.uint8)
    stripes[:, :, ::2] = 254
    assert read_frames(make_video(stripes), 16, 2).std() < 4


@pytest.mark.parametrize("width", [48, 96, 144, 160])
def test_colours_stay_in_place_at_every_width(make_video, width):
    ramp = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    picture = np.concatenate([ramp, 255 - ramp, np.full_like(ramp, 128)], axis=1)
    frames = read_frames(make_video(np.tile(picture, (2, width, 1, 1))), width, 2)
    assert np.abs(frames - picture.astype(int)).max() < 12


def test_a_still_image_is_repeated(tmp_path):
    image = numbered_frames(8)[5]
    Image.fromarray(image).save(tmp_path / "five.png")
    frames = read_frames(tmp_path / "five.png", 64, 16)
    np.testing.assert_array_equal(frames, np.broadcast_to(image, (16, 64, 64, 3)))


def test_an_animated_gif_is_a_video(tmp_path):
    images = [Image.fromarray(frame) for frame in numbered_frames(8)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100)
    assert numbers_shown(read_frames(tmp_path / "a.gif", 64, 8, fps=10)) == [*range(8)]


def test_a_gif_that_lasts_no_time_is_read(tmp_path):
    images = [Image.fromarray(frame) for frame in numbered_frames(6)[[2, 5]]]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=0)
    assert set(numbers_shown(read_frames(tmp_path / "a.gif", 64, 4))) <= {2, 5}


def test_bundled_clips_are_read_and_move():
    clips = bundled_clips()
    assert {"cup_tilt_zoom", "bigbuckbunny", "cockatoo"} < {*clips}
    for path in clips.values():
        frames = read_frames(path, 112, 16)
        assert frames.shape == (16, 112, 112, 3)
        assert (frames[4] != frames[-1]).mean() > 0.01


def test_normalize_matches_the_formula_and_back():
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 3), np.uint8)
    clips = normalize(frames)
    assert clips.shape == (2, 3, 4, 8, 8)
    green = (frames[1, 2, 3, 4, 1] / 255 - 0.456) / 0.224
    assert clips[1, 1, 2, 3, 4].item() == pytest.approx(green, abs=1e-5)
    np.testing.assert_array_equal(denormalize(clips).numpy(), frames)
    torch.testing.assert_close(normalize(torch.from_numpy(frames)), clips)


def test_normalize_leaves_a_read_only_array_alone():
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames.flags.writeable = False
    normalize(frames)
    assert not frames.any()


def test_read_clip_takes_its_sizes_from_the_config(cup_clip):
    clip = read_clip(cup_clip, SimpleNamespace(image_size=48, num_frames=6), start=1.0)
    assert clip.shape == (3, 6, 48, 48)
    np.testing.assert_array_equal(denormalize(clip), read_frames(cup_clip, 48, 6, start=1.0))


def test_frames_are_read_without_torch(cup_clip):
    code = (
        "import sys; from vjepa.data.clips import read_frames;"
        f"read_frames({str(cup_clip)!r}, 112, 16); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_that_are_no_video_are_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    Image.fromarray(numbered_frames(1)[0]).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_sound(tmp_path / "sound.mp4")
    refusals = {
        "missing.mp4": "no file",
        ".": "no file",
        "empty.mp4": "is empty",
        "text.mp4": "no video",
        "cut.png": "damaged",
        "sound.mp4": "no pictures",
    }
    for name, words in refusals.items():
        with pytest.raises(InputError, match=words):
            read_frames(tmp_path / name, 64, 16)


def test_a_damaged_video_is_refused(tmp_path, cup_clip):
    data = cup_clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        read_frames(tmp_path / "cut.mp4", 64, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": 100.0}, "lasts 8.38 s"),
        ({"start": 1e9}, "lasts 8.38 s"),
        ({"start": 1e300}, "0 to 1e"),
        ({"start": -1.0}, "0 to 1e"),
        ({"start": math.nan}, "0 to 1e"),
        ({"fps": -1.0}, "positive"),
        ({"fps": 0.0}, "positive"),
        ({"fps": math.inf}, "positive"),
        ({"num_frames": 0}, "0 frames"),
        ({"image_size": 0}, "0 px"),
    ],
)
def test_numbers_that_make_no_clip_are_refused(cup_clip, arguments, words):
    with pytest.raises(InputError, match=words):
        read_frames(cup_clip, **({"image_size": 64, "num_frames": 16} | arguments))


@pytest.mark.parametrize("frames", [np.zeros((4, 8, 8, 3), np.float32), np.zeros((4, 8, 8), "u1")])
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(InputError, match="uint8"):
        normalize(frames)


def write_sound(path) -> None:
    """An mp4 with a second of silence and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = np.zeros((2, 44100), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_reading_a_video_first_does_not_break_torch(cup_clip):
    script = (
        "import sys; from vjepa.data.clips import read_frames;"
        f"read_frames({str(cup_clip)!r}, 32, 4); assert 'decord' not in sys.modules;"
        "from vjepa.reading.packed import import_decord; import_decord();"
        "assert 'torch' not in sys.modules and 'nvidia' not in sys.modules;"
        "import torch; x = torch.ones(2, 64, 64);"
        "assert (x @ x == 64).all();"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else '';"
        "assert 'libnvblas' not in maps"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
