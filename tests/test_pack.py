"""Packs: re-encoded once, labels carried along; decord reads the frames that the reader reads."""

import logging

import numpy as np
import pytest
from painted import encode, numbers, painted

from vjepa.data.clips import read_frames, square
from vjepa.data.datasets import open_dataset, open_splits
from vjepa.data.pack import PackSettings, pack, packed_name
from vjepa.errors import InputError
from vjepa.reading import packed, reader
from vjepa.reading.timing import Wish

SETTINGS = PackSettings(short_side=64, fps=15)
COUNT = 90
WHOLE = Wish(0, 15, 40, 48, lambda image: square(image, 48))


@pytest.fixture
def folder(tmp_path):
    """Two classes of videos of several kinds, one of them broken."""
    (tmp_path / "data" / "falls down").mkdir(parents=True)
    (tmp_path / "data" / "goes").mkdir()
    root = tmp_path / "data"
    encode(root / "falls down" / "a.avi", painted(COUNT), "mpeg4-b")
    encode(root / "falls down" / "b.mkv", painted(COUNT), "hevc-open")
    encode(root / "goes" / "a.ts", painted(COUNT, 48, 100), "h264", fps=25)
    (root / "goes" / "broken.mp4").write_bytes(b"no video")
    return root


def in_process(datasets, out, settings=SETTINGS):
    """Packs without further processes, which would import torch each."""

    class Pool:
        def __init__(self, *_, **__): ...

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

        def submit(self, call, *args):
            from concurrent.futures import Future

            job = Future()
            job.set_result(call(*args))
            return job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vjepa.data.pack.ProcessPoolExecutor", Pool)
        return pack(datasets, out, settings)


def test_labels_are_carried_along_and_what_is_left_out_is_counted(folder, tmp_path):
    made = in_process(open_splits(folder), tmp_path / "pack")
    assert made.videos == 3
    assert [path for path, _ in made.left_out] == [str(folder / "goes" / "broken.mp4")]
    dataset = open_dataset(tmp_path / "pack")
    assert dataset.classes == ("falls down", "goes")
    kinds = {
        path.name: dataset.classes[i] for path, i in zip(dataset.paths, dataset.labels, strict=True)
    }
    assert kinds == {
        packed_name(folder / "falls down" / "a.avi"): "falls down",
        packed_name(folder / "falls down" / "b.mkv"): "falls down",
        packed_name(folder / "goes" / "a.ts"): "goes",
    }


def test_decord_and_the_reader_agree_frame_by_frame(folder, tmp_path):
    in_process(open_splits(folder), tmp_path / "pack")
    for path in open_dataset(tmp_path / "pack").paths:
        for start, fps, count in ((0, 15, 40), (0.8, 7.5, 16), (2.2, 15, 8), (1.1, 3, 16)):
            wish = Wish(start, fps, count, 48, lambda image: square(image, 48))
            fast, slow = packed.read(path, wish).frames, reader.read(path, wish).frames
            assert numbers(fast) == numbers(slow)
            assert np.abs(fast.astype(int) - slow).mean() < 4  # decord is darker by one
        with pytest.raises(InputError, match="lasts"):
            read_frames(path, 48, 16, start=9.0)


def test_frames_are_read_one_by_one_where_a_batch_has_no_room_for_them(
    folder, tmp_path, monkeypatch
):
    """As on processors with wide registers, at widths like 96: there rows are padded."""
    decord = packed.import_decord()

    def too_small(*_):
        raise decord.DECORDError("from_size == to_size")

    in_process(open_splits(folder), tmp_path / "pack")
    monkeypatch.setattr(decord.VideoReader, "get_batch", too_small)
    for path in open_dataset(tmp_path / "pack").paths:
        fast, slow = packed.read(path, WHOLE).frames, reader.read(path, WHOLE).frames
        assert numbers(fast) == numbers(slow)


def test_frames_and_rate_are_those_of_the_source(folder, tmp_path):
    in_process(open_splits(folder), tmp_path / "pack")
    for source, step in (("falls down/a.avi", 2), ("falls down/b.mkv", 2), ("goes/a.ts", 2)):
        path = tmp_path / "pack" / packed_name(folder / source)
        rate = 25 if source.endswith("ts") else 30
        shown = numbers(read_frames(path, 48, 40, fps=rate / step))
        assert shown == [*range(0, 80, 2)]
        assert packed._open(path).get_avg_fps() == pytest.approx(rate / step)


def test_an_uneven_rate_becomes_constant(tmp_path):
    times = [*range(0, 1000, 33), *range(1000, 3000, 200)]
    (tmp_path / "data").mkdir()
    path = encode(tmp_path / "data" / "a.mkv", painted(len(times)), "h264", milliseconds=times)
    in_process(open_splits(tmp_path / "data"), tmp_path / "pack")
    shown = numbers(read_frames(tmp_path / "pack" / packed_name(path), 48, 40, fps=15))
    far = np.abs(np.array(times)[shown] / 1000 - np.arange(40) / 15)
    assert far.max() <= 0.102


def test_splits_stay_splits(folder, tmp_path):
    lists = folder.parent / "lists"
    lists.mkdir()
    for split, names in (
        ("train", ["falls down/a.avi", "goes/a.ts"]),
        ("val", ["falls down/b.mkv"]),
    ):
        lines = [f"{name}\t{int(name.startswith('goes'))}\n" for name in names]
        (lists / f"{split}.csv").write_text("".join(lines))
    in_process(open_splits(lists, videos=folder), tmp_path / "pack")
    assert open_dataset(tmp_path / "pack", split="train").labels.tolist() == [0, 1]
    assert open_dataset(tmp_path / "pack", split="validation").labels.tolist() == [0]


def test_a_pack_goes_on_where_it_was_interrupted(folder, tmp_path, monkeypatch):
    out = tmp_path / "pack"
    in_process(open_splits(folder), out)
    kept = out / packed_name(folder / "falls down" / "a.avi")
    gone = out / packed_name(folder / "goes" / "a.ts")
    before, _ = kept.stat().st_mtime_ns, gone.unlink()
    in_process(open_splits(folder), out)
    assert kept.stat().st_mtime_ns == before and gone.is_file()
    with pytest.raises(InputError, match="other settings"):
        in_process(open_splits(folder), out, PackSettings(fps=10))


def test_a_pack_overwrites_nothing(folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for out in (folder / "goes", folder, tmp_path / "full"):
        with pytest.raises(InputError, match="choose another"):
            in_process(open_splits(folder), out)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_several_processes_make_the_same_pack(folder, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    first = in_process(open_splits(folder), alone)
    assert pack(open_splits(folder), together, SETTINGS, workers=2) == first
    names = sorted(path.name for path in alone.iterdir())
    assert sorted(path.name for path in together.iterdir()) == names
    for name in names:
        if not name.endswith(".mp4"):
            assert (alone / name).read_bytes() == (together / name).read_bytes()
            continue
        # from equal frames x264 now and then makes others, two grey levels away (1 in 90 seen)
        ours, theirs = (
            reader.read(at / name, WHOLE).frames.astype(int) for at in (alone, together)
        )
        assert np.abs(ours - theirs).max() <= 2


def test_files_that_are_passed_over_are_counted(folder, caplog):
    (folder / "goes" / "notes.xyz").touch()
    (folder / "goes" / ".hidden.xyz").touch()
    with caplog.at_level(logging.WARNING):
        open_dataset(folder)
    assert "1 files are passed over" in caplog.text and ".xyz (1)" in caplog.text
