"""The reader takes the right frames out of whatever people bring, the same ones every time."""

import itertools
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from painted import COLOURS, corners, encode, numbers, painted, trimmed, with_matrix, without_key

from vjepa.data.clips import duration, read_frames, read_with_notes, square
from vjepa.errors import InputError
from vjepa.reading.reader import UNEVEN, read
from vjepa.reading.timing import Wish, choose, frame_indices, is_even
from vjepa.reading.video_file import CUT_OFF, HDR, runs

COUNT, READINGS, THREADS = 110, 20, 4
CONTAINERS = {
    "mp4": "h264 h264-without-b h264-open h264-refresh hevc-open hevc-closed mpeg4-b vp9 av1",
    "mov": "h264-open prores",
    "mkv": "h264 hevc-open mpeg2-b vp8 ffv1",
    "webm": "vp8 vp9",
    "avi": "h264 mpeg4-b mpeg4 mjpeg ffv1",
    "wmv": "wmv2",
    "asf": "h264",
    "mpg": "mpeg1-b mpeg2-b h264",
    "ts": "h264 hevc-open mpeg2-b",
    "m2ts": "h264",
    "flv": "h264 flv1",
    "3gp": "mpeg4",
    "ogv": "vp8",
    "nut": "h264",
    "mxf": "mpeg2-b",
    "h264": "h264",
    "m2v": "mpeg2-b",
}
KINDS = [(name, kind) for name, kinds in CONTAINERS.items() for kind in kinds.split()]
PLACES = [(0, None), (0.7, None), (1.93, 15), (2.9, 7.5), (3.6, 30), (1.2, 2)]
"""Starts and rates: at the beginning, in the middle, too near to the end."""


def expected(start, fps, count=COUNT, rate=30, length=16) -> list[int]:
    return frame_indices(count, rate, length, int(start * rate + 1e-2), fps or 7.5)


def seen(path, start=0.0, fps=None, length=16) -> list[int]:
    return numbers(read_frames(path, 64, length, start=start, fps=fps))


def in_turn(path, times=READINGS) -> set:
    """What many readings from several threads give: bytes, or the sentence of a refusal."""

    def once(_):
        try:
            return read_frames(path, 48, 8, start=0.6).tobytes()
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        return set(pool.map(once, range(times)))


@pytest.mark.parametrize(("container", "kind"), KINDS, ids=lambda name: name)
def test_every_kind_gives_the_frames_asked_for_every_time(tmp_path, container, kind):
    path = encode(tmp_path / f"clip.{container}", painted(COUNT), kind)
    for start, fps in PLACES:
        assert seen(path, start, fps) == expected(start, fps), (start, fps)
    with pytest.raises(InputError, match=r"lasts 3\.6"):
        seen(path, 9.0)
    assert len(in_turn(path)) == 1


@pytest.mark.parametrize("rate", [10, 24000 / 1001, 25, 30000 / 1001, 50, 60])
@pytest.mark.parametrize(
    ("container", "kind"),
    [("mp4", "hevc-open"), ("mkv", "h264"), ("ts", "h264"), ("avi", "mpeg4-b"), ("wmv", "wmv2")],
)
def test_every_rate_keeps_a_whole_step(tmp_path, container, kind, rate):
    path = encode(tmp_path / f"clip.{container}", painted(70), kind, fps=rate)
    for frame, fps in ((0, None), (31, rate), (52, rate)):
        want = expected(frame / rate, fps, 70, rate)
        assert seen(path, frame / rate, fps) == want


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_change_nothing(tmp_path, threads):
    wish = Wish(0.9, 7.5, 16, 64, lambda image: square(image, 64))
    for kind in ("hevc-open", "vp9", "h264"):
        path = encode(tmp_path / f"{kind}.mkv", painted(COUNT), kind)
        one, many = (read(path, wish._replace(threads=n)).frames for n in (1, threads))
        np.testing.assert_array_equal(one, many)


# -- time


SLOWER = [*range(0, 1000, 33), *range(1000, 7000, 200)]
"""Milliseconds: 30 frames a second, and after one second 5."""


@pytest.mark.parametrize(
    ("container", "kind"),
    [("mkv", "h264"), ("mp4", "h264"), ("webm", "vp8"), ("webm", "vp9"), ("ts", "h264")],
)
@pytest.mark.parametrize("start", [0, 0.5, 2.0])
def test_an_uneven_rate_gives_the_frames_nearest_in_time(tmp_path, container, kind, start):
    path = tmp_path / f"clip.{container}"
    encode(path, painted(len(SLOWER)), kind, milliseconds=SLOWER)
    frames, notes = read_with_notes(path, 64, 16, start=start)
    times = np.array(SLOWER)[numbers(frames)] / 1000
    begin = max(t for t in SLOWER if t <= start * 1000 + 1) / 1000
    far = np.abs(times - (begin + np.arange(16) / 7.5))
    assert far.max() <= 0.101  # half of the longest gap
    assert UNEVEN in notes


def test_a_constant_rate_needs_no_note(tmp_path):
    path = encode(tmp_path / "clip.mkv", painted(COUNT), "h264", fps=24000 / 1001)
    assert read_with_notes(path, 64, 16).notes == ()


def test_what_is_even():
    steady = np.arange(60) / 30
    rounded = np.round(steady, 3)
    telecine = np.cumsum([0, *itertools.islice(itertools.cycle([2, 3]), 40)]) / 60
    assert all(is_even(times) for times in (steady, rounded, telecine, steady[:2]))
    dropped = np.delete(steady, 20)
    slower = np.concatenate([steady, 2 + np.arange(30) / 20])
    assert not any(is_even(times) for times in (dropped, slower))


def test_more_frames_never_change_a_choice():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 200))
    for known in range(2, 200):
        choice = choose(times[:known], False, 16, 7.5, 30.0)
        if choice.enough:
            assert choice.indices == choose(times, False, 16, 7.5, 30.0).indices


# -- places


def test_what_an_edit_list_takes_out_is_not_shown(tmp_path):
    whole = encode(tmp_path / "whole.mp4", painted(120), "h264")
    for name in ("cut.mp4", "cut.mov"):
        path = trimmed(whole, tmp_path / name, begin=45)
        assert seen(path) == [*range(45, 106, 4)]
        assert seen(path, start=1.0) == expected(75 / 30, None, 120)
        with pytest.raises(InputError, match=r"lasts 2\.5"):
            seen(path, start=2.6)


@pytest.mark.parametrize("place", [1, 2])
def test_a_table_of_key_frames_may_have_gaps(tmp_path, place):
    path = without_key(encode(tmp_path / "a.mp4", painted(COUNT), "h264-without-b"), place)
    assert seen(path) == [*range(0, 61, 4)]
    assert seen(path, start=1.1, fps=30) == [*range(33, 49)]


def test_what_an_old_x264_made_in_444_is_right_in_its_middle():
    """A film of imageio's, which everybody has: its decoder must have seen the first packet."""
    path = Path(__file__).parent / "golden" / "x264_142_444.mp4"
    straight = read_with_notes(path, 96, 18, fps=20)
    later = read_with_notes(path, 96, 8, start=0.3, fps=20)
    assert not later.notes
    assert (later.frames == straight.frames[6:14]).all()


def test_recordings_one_behind_the_other_are_counted(tmp_path):
    for container, kind in (("ts", "h264"), ("mpg", "mpeg2-b")):
        path = encode(tmp_path / f"once.{container}", painted(COUNT), kind)
        twice = tmp_path / f"twice.{container}"
        twice.write_bytes(path.read_bytes() * 2)
        assert seen(twice, start=1.0) == expected(1.0, None)
        assert seen(twice, start=(COUNT + 20) / 30) == expected(20 / 30, None)


@pytest.mark.parametrize(
    ("container", "kind"),
    [("ts", "h264"), ("ts", "hevc-open"), ("mpg", "mpeg2-b"), ("m2ts", "h264"), ("h264", "h264")],
)
def test_a_recording_may_begin_anywhere(tmp_path, container, kind):
    path = encode(tmp_path / f"a.{container}", painted(COUNT + 60), kind)
    data = path.read_bytes()
    path.write_bytes(data[len(data) * 30 // 100 :])
    first = seen(path, fps=30)
    assert first == [*range(first[0], first[0] + 16)] and first[0] > 10
    assert seen(path, start=2.0, fps=30) == [*range(first[0] + 60, first[0] + 76)]


def test_a_file_that_is_cut_off_gives_what_is_there_and_a_note(tmp_path):
    options = {"movflags": "faststart"}
    for container, kind in (("mp4", "h264"), ("mkv", "hevc-open"), ("webm", "vp9")):
        path = tmp_path / f"cut.{container}"
        encode(path, painted(COUNT), kind, **options if container == "mp4" else {})
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 58 // 100])
        assert seen(path, fps=30) == [*range(16)]
        assert len(in_turn(path)) == 1
        assert CUT_OFF in read_with_notes(path, 64, 16, start=0.5, fps=2).notes
        with pytest.raises(InputError, match="cut off"):
            seen(path, start=3.5)


@pytest.mark.parametrize(
    ("container", "kind"), [("mp4", "h264"), ("ts", "hevc-open"), ("mkv", "vp9")]
)
def test_damage_looks_the_same_at_every_reading(tmp_path, container, kind):
    path = encode(tmp_path / f"a.{container}", painted(COUNT), kind)
    data, dice = bytearray(path.read_bytes()), np.random.default_rng(0)
    for at in dice.integers(len(data) // 4, len(data) - len(data) // 8, 12):
        data[at] ^= 1 << int(dice.integers(8))
    path.write_bytes(data)
    assert len(in_turn(path)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="limits a process's memory")
def test_tables_that_lie_take_no_memory(tmp_path):
    path = encode(tmp_path / "a.mp4", painted(40), "h264")
    for box in (b"stts", b"stsz", b"stsc", b"ctts"):
        data = bytearray(path.read_bytes())
        at = data.index(box) + (12 if box == b"stsz" else 8)
        struct.pack_into(">I", data, at, 0x7FFFFFFF)
        if box == b"stts":
            struct.pack_into(">II", data, at, 1, 0x7FFFFFFF)
        (tmp_path / "lies.mp4").write_bytes(data)
        code = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2)\n"
            "import vjepa\n"
            "try: vjepa.read_frames(sys.argv[1], 64, 16)\n"
            "except vjepa.InputError: pass"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "lies.mp4")]
        assert subprocess.run(command, timeout=60, check=False).returncode == 0, box


# -- pictures


@pytest.mark.parametrize(
    ("matrix", "seen_corners"),
    [
        ((1, 0, 0, 1), "tl tr bl br"),
        ((-1, 0, 0, 1), "tr tl br bl"),
        ((1, 0, 0, -1), "bl br tl tr"),
        ((-1, 0, 0, -1), "br bl tr tl"),
        ((0, 1, -1, 0), "bl tl br tr"),
        ((0, -1, 1, 0), "tr br tl bl"),
        ((0, 1, 1, 0), "tl bl tr br"),
        ((0, -1, -1, 0), "br tr bl tl"),
    ],
)
def test_the_display_matrix_turns_and_mirrors(tmp_path, matrix, seen_corners):
    path = with_matrix(encode(tmp_path / "a.mp4", painted(3), "h264"), matrix)
    assert corners(read_frames(path, 64, 1)[0]) == seen_corners


@pytest.mark.parametrize("size", [24, 64, 200])
@pytest.mark.parametrize("ratio", ["2/1", "1/2", "64/45"])
def test_pixels_that_are_not_square_are_made_so(tmp_path, ratio, size):
    aspect = float(Fraction(ratio))
    yy, xx = np.mgrid[:96, :144]
    disc = ((yy - 48) ** 2 + ((xx - 72) * aspect) ** 2 < 30**2)[..., None]
    frames = np.broadcast_to(disc * np.uint8(255), (3, 96, 144, 3)).copy()
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 96, 144, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    white = read_frames(path, size, 1)[0, :, :, 0] > 128
    wide, high = white.any(0).sum(), white.any(1).sum()
    assert wide == pytest.approx(high, abs=max(2, size * 0.04))


@pytest.mark.parametrize("size", [32, 200])
@pytest.mark.parametrize(
    ("matrix", "full"), [(1, False), (1, True), (5, False), (5, True), (9, False)]
)
def test_colours_follow_range_and_matrix(tmp_path, size, matrix, full):
    colour = np.array([190, 60, 90], np.uint8)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv444p"
        context = stream.codec_context
        context.color_range, context.colorspace = 2 if full else 1, matrix
        frame = av.VideoFrame(96, 64, "yuv444p")
        for plane, value in zip(frame.planes, to_yuv(colour, matrix, full), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.abs(read_frames(path, size, 1).astype(int) - colour).max() <= 3


def to_yuv(colour, matrix: int, full: bool) -> list[int]:
    """ITU-T H.273, equations for Y'CbCr."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    r, g, b = (colour / 255).tolist()
    y = kr * r + (1 - kr - kb) * g + kb * b
    parts = y, (b - y) / (1 - kb) / 2, (r - y) / (1 - kr) / 2
    scales = (255, 255, 255) if full else (219, 224, 224)
    offsets = (0, 128, 128) if full else (16, 128, 128)
    return [round(p * s + o) for p, s, o in zip(parts, scales, offsets, strict=True)]


def test_hdr_is_said_to_be_shown_without_tone_mapping(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=30, options={"x265-params": "log-level=0"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p10le"
        stream.codec_context.color_trc = 16
        frame = av.VideoFrame.from_ndarray(painted(1, 64, 96)[0], format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert HDR in read_with_notes(path, 64, 1).notes


def test_frames_as_large_as_they_are_wanted_are_left_as_they_are(tmp_path):
    path = encode(tmp_path / "a.mkv", painted(2, 64, 96), "ffv1")
    frame = read_frames(path, 64, 1)[0]
    assert np.abs(frame[4, 4].astype(int) - COLOURS["tl"]).max() <= 4


# -- containers and names


def test_what_browsers_record_has_no_duration(tmp_path):
    with (tmp_path / "live.webm").open("wb") as file:
        stream = type("Pipe", (), {"write": lambda self, data: file.write(data)})()
        with av.open(stream, "w", format="webm", options={"live": "1"}) as container:
            track = container.add_stream("libvpx", rate=30, options={"deadline": "realtime"})
            track.height, track.width, track.pix_fmt = 96, 144, "yuv420p"
            for pixels in painted(90):
                container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(track.encode(None))
    assert duration(tmp_path / "live.webm") == pytest.approx(89 / 30, abs=0.01)
    assert seen(tmp_path / "live.webm") == [*range(0, 61, 4)]
    assert seen(tmp_path / "live.webm", start=1.5, fps=30) == [*range(45, 61)]


def test_a_title_may_be_in_any_encoding(tmp_path):
    path = encode(tmp_path / "a.mp4", painted(20), "h264")
    with av.open(str(path)) as old, av.open(str(tmp_path / "t.mkv"), "w") as new:
        new.metadata["title"] = "cafXX"
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    data = (tmp_path / "t.mkv").read_bytes()
    assert b"cafXX" in data
    (tmp_path / "t.mkv").write_bytes(data.replace(b"cafXX", b"caf\xe9\xff"))
    assert seen(tmp_path / "t.mkv", fps=30) == [*range(16)]


def test_cover_art_is_no_video_and_the_track_beside_it_is(tmp_path):
    path = encode(tmp_path / "a.mp4", painted(20), "h264")
    for name, parts in (("both.mp4", (True, True)), ("cover.mp4", (True, False))):
        with av.open(str(path)) as old, av.open(str(tmp_path / name), "w") as new:
            cover = new.add_stream("mjpeg", rate=1)
            cover.height, cover.width, cover.pix_fmt = 64, 64, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            copy = new.add_stream_from_template(old.streams.video[0]) if parts[1] else None
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            new.mux(cover.encode(picture))
            new.mux(cover.encode(None))
            for packet in old.demux(video=0) if copy else ():
                if packet.dts is not None:
                    packet.stream = copy
                    new.mux(packet)
    assert seen(tmp_path / "both.mp4", fps=30) == [*range(16)]
    with pytest.raises(InputError, match="no pictures"):
        seen(tmp_path / "cover.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
@pytest.mark.parametrize(
    "name",
    [
        "2024-01-01T12:30:00.mp4",
        "a\nb.mp4",
        "視" * 83 + "ab.mp4",
        "%03d.mp4",
        "-i.mp4",
        "pipe:0.mp4",
    ],
    ids=ascii,
)
def test_names_that_are_hard(tmp_path, monkeypatch, name):
    encode(tmp_path / "plain.mp4", painted(20), "h264").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert seen(name, fps=30) == [*range(16)]


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {other}\n",
    ],
    ids=["hls", "concat"],
)
def test_a_list_of_files_opens_none_of_them(tmp_path, text):
    other = encode(tmp_path / "other.ts", painted(20), "h264")
    for name in ("list.mp4", "list.m3u8"):
        (tmp_path / name).write_text(text.format(other=other.name))
        with pytest.raises(InputError, match="no video"):
            seen(tmp_path / name)


def test_runs_begin_with_key_frames_and_pass_over_what_nobody_needs():
    from vjepa.reading.video_file import Mark

    marks = [Mark(i, i, 1, i % 10 == 0, False) for i in range(50)]
    assert runs(marks, None) == [range(50)]
    assert runs(marks, {0, 3, 25, 44}) == [range(4), range(20, 26), range(40, 45)]
    assert runs(marks, {9, 10}) == [range(10), range(10, 11)]
