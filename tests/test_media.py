"""Written files hold the frames they were given, in a form browsers play."""

import io

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from decoder.media import gif_bytes, mp4_bytes, write_gif, write_mp4
from vjepa.errors import InputError


@pytest.fixture
def frames() -> np.ndarray:
    """A bright square that walks over a smooth background: (16, 112, 112, 3)."""
    ramp = np.linspace(40, 160, 112)
    clip = np.full((16, 112, 112, 3), 90, np.uint8)
    clip[..., 0], clip[..., 1] = ramp, ramp[:, None]
    for t in range(16):
        clip[t, 40:72, 5 * t : 5 * t + 24] = (230, 200, 60)
    return clip


def test_mp4_reads_back_in_order_and_close(tmp_path, frames):
    write_mp4(tmp_path / "a.mp4", frames, fps=7.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(7.5)
        back = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert back.shape == frames.shape
    per_frame = np.abs(back.astype(int) - frames).mean((1, 2, 3))
    assert per_frame.max() < 3
    assert np.abs(back[0].astype(int) - frames[1]).mean() > 2 * per_frame.max()


def test_mp4_is_what_browsers_play(frames):
    with av.open(io.BytesIO(mp4_bytes(frames, 8))) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_odd_sizes_gain_one_row_and_column(frames):
    with av.open(io.BytesIO(mp4_bytes(frames[:, :51, :33], 8))) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert image.shape == (52, 34, 3)
    assert np.abs(image[:51, :33].astype(int) - frames[0, :51, :33]).mean() < 3


def test_gif_reads_back_in_order_and_close(tmp_path, frames):
    write_gif(tmp_path / "a.gif", frames, fps=8)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        assert image.info["duration"] == 120
        back = np.stack([np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)])
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 4


def test_gif_of_a_still_clip_does_not_flicker(frames):
    still = np.repeat(frames[:1], 6, axis=0)
    with Image.open(io.BytesIO(gif_bytes(still, 8))) as image:
        back = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert all((b == back[0]).all() for b in back)


@pytest.mark.parametrize("encode", [mp4_bytes, gif_bytes])
def test_what_cannot_be_written_is_refused(encode, frames):
    with pytest.raises(InputError, match="no frames"):
        encode(frames[:0], 8)
    with pytest.raises(InputError, match="positive"):
        encode(frames, 0)
