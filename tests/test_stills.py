"""Pictures, and pictures that move: upright, over white, scaled to 8 bits."""

import struct
from contextlib import suppress

import hostile
import numpy as np
import pytest
from painted import corners, numbers, painted
from PIL import Image
from tiny import TINY

from vjepa.data.clips import read_frames, read_with_notes
from vjepa.data.views import read_views
from vjepa.errors import InputError
from vjepa.reading.reader import UNEVEN


def pictures(count: int) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in painted(count)]


@pytest.mark.parametrize(
    ("turned", "seen"),
    [
        (1, "tl tr bl br"),
        (2, "tr tl br bl"),
        (3, "br bl tr tl"),
        (6, "bl tl br tr"),
        (8, "tr br tl bl"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_photo_is_turned_upright(tmp_path, suffix, turned, seen):
    exif = Image.Exif()
    exif[0x112] = turned
    pictures(1)[0].save(tmp_path / f"a.{suffix}", exif=exif)
    assert corners(read_frames(tmp_path / f"a.{suffix}", 64, 2)[0]) == seen


def test_of_a_phone_s_several_pictures_the_first_is_taken(tmp_path):
    first, second = pictures(2)
    exif = Image.Exif()
    exif[0x112] = 6
    small = second.resize((48, 32))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[small], exif=exif)
    frames = read_frames(tmp_path / "a.jpg", 64, 4)
    assert (frames == frames[0]).all() and corners(frames[0]) == "bl tl br tr"


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (lambda ramp: (ramp * 65535).astype(np.uint16), "png"),
        (lambda ramp: (ramp * 65535).astype(np.uint16), "tif"),
        (lambda ramp: (ramp * 65535).astype(np.int32), "tif"),
        (lambda ramp: ramp.astype(np.float32), "tif"),
        (lambda ramp: (ramp * 255).astype(np.float32), "tif"),
        (lambda ramp: (ramp * 255).astype(np.uint8), "png"),
    ],
    ids=["16-bit png", "16-bit tiff", "32-bit tiff", "float", "float to 255", "8-bit"],
)
def test_more_than_8_bits_are_scaled(tmp_path, values, suffix):
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    Image.fromarray(values(ramp)).save(tmp_path / f"a.{suffix}")
    frame = read_frames(tmp_path / f"a.{suffix}", 64, 1)[0]
    assert np.abs(frame - (ramp * 255)[..., None]).max() <= 1


def test_floats_without_a_value_are_black(tmp_path):
    values = np.full((64, 64), np.nan, np.float32)
    values[:, 32:] = 1
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_frames(tmp_path / "a.tif", 64, 1)[0, 0, [0, 63], 0].tolist() == [0, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 32, 64))
    image.convert(mode).save(tmp_path / "a.png")
    assert read_frames(tmp_path / "a.png", 64, 1)[0, 0, [0, 63]].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tif", "avif"])
def test_pictures_that_move_are_clips(tmp_path, suffix):
    first, *others = pictures(40)
    path = tmp_path / f"a.{suffix}"
    lossless = {"webp": {"lossless": True}, "avif": {"quality": 90}}.get(suffix, {})
    first.save(path, save_all=True, append_images=others, duration=100, **lossless)
    frames, notes = read_with_notes(path, 64, 16, fps=10)
    assert (numbers(frames), notes) == ([*range(16)], ())
    assert numbers(read_frames(path, 64, 8, start=1.0, fps=5)) == [*range(10, 25, 2)]
    with pytest.raises(InputError, match=r"lasts 4\.00 s"):
        read_frames(path, 64, 16, start=4.5)
    views = read_views(path, TINY, clips=2, views=1)
    assert views.shape == (2, 1, 4, 48, 48, 3)


def test_pictures_shown_for_uneven_times_are_taken_by_time(tmp_path):
    first, *others = pictures(12)
    lasting = [100] * 6 + [500] * 6
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=lasting)
    frames, notes = read_with_notes(tmp_path / "a.gif", 64, 16, fps=7.5)
    times = np.cumsum([0, *lasting])[:-1][numbers(frames)] / 1000
    assert np.abs(times - np.arange(16) / 7.5).max() <= 0.25
    assert notes == (UNEVEN,)


def test_the_picture_beside_an_animation_is_none_of_it(tmp_path):
    first, *others = pictures(10)
    path = tmp_path / "a.png"
    first.save(path, save_all=True, append_images=others, default_image=True, duration=100)
    assert numbers(read_frames(path, 64, 9, fps=10)) == [*range(1, 10)]


def test_a_smaller_second_page_is_no_film(tmp_path):
    first, second = pictures(2)
    small = second.resize((48, 32))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert numbers(read_frames(tmp_path / "a.tif", 64, 4)) == [0] * 4


def test_a_heic_photo_is_refused_by_name(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    with pytest.raises(InputError, match=r"HEIC photo.*JPEG"):
        read_frames(tmp_path / "a.heic", 64, 4)


def test_a_picture_without_a_size_is_one_sentence(tmp_path):
    path = tmp_path / "a.tif"
    pictures(1)[0].save(path)
    data = path.read_bytes()
    for kind in (3, 4):  # a TIFF's entry for the width gets a number that stands for nothing
        data = data.replace(struct.pack("<HHI", 256, kind, 1), struct.pack("<HHI", 65000, kind, 1))
    assert data != path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif .*choose another"):
        read_frames(path, 64, 2)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what is damaged
@pytest.mark.parametrize("suffix", ["png", "gif", "jpg", "webp", "tif", "bmp"])
def test_a_damaged_picture_is_frames_or_one_sentence(tmp_path, suffix):
    random, path = np.random.default_rng(0), tmp_path / f"a.{suffix}"
    first, *rest = pictures(3)
    more = {"save_all": True, "append_images": rest} if suffix not in ("jpg", "bmp") else {}
    first.save(path, **more)
    good = path.read_bytes()
    for number in range(40):
        path.write_bytes(hostile.MUTATIONS[number % len(hostile.MUTATIONS)](good, random))
        with suppress(InputError):
            assert read_frames(path, 64, 2).shape == (2, 64, 64, 3)
