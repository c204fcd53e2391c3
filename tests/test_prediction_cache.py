"""The cache: it holds what the model says, it goes on where it was, one process or two."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny import SHORT, TINY, losses, tiny_model

import decoder.training.prediction_cache as caching
import decoder.training.train as training
from decoder.canvas import Pixels, to_tubelets
from decoder.network import CONDITIONS
from decoder.pairing import find_decoder, load_pipeline
from decoder.training.batch import (
    ALL_TARGETS,
    OnlineExamples,
    draw_batch,
    draw_clips,
    draw_groups,
)
from decoder.training.estimate import in_words
from decoder.training.prediction_cache import (
    CacheKey,
    PredictionCache,
    fill_records,
    record_layout,
    which_videos,
)
from decoder.training.train import TrainConfig, train
from vjepa import checkpoint
from vjepa.data.clips import normalize
from vjepa.data.sources import open_source
from vjepa.errors import InputError

ROOT = Path(__file__).parents[1]
ALL = slice(None)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def source():
    return open_source("world", TINY, levels=(0,), device=torch.device("cpu"))


@pytest.fixture
def key(model):
    videos = which_videos("world")
    print_of_model = checkpoint.fingerprint(model)
    return CacheKey(print_of_model, 48, 4, "world", videos, "pixels", (0,), 6, seed=0)


@pytest.fixture
def open_cache(tmp_path, key, monkeypatch):
    monkeypatch.setattr(caching, "SHARD_CLIPS", 8)
    return lambda clips=20, **changes: PredictionCache(
        tmp_path / "cache", replace(key, **changes), TINY, Pixels(TINY), clips
    )


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def shards(cache):
    return {path.name: path.read_bytes() for path in cache.folder.glob("*.npy")}


def test_records_hold_what_the_model_says_of_exactly_these_tokens(model, source):
    clips = draw_clips(source, model.grid, 3, 6, generator(1))
    records = np.zeros(3, record_layout(TINY, 6, Pixels(TINY)))
    fill_records(records, model, Pixels(TINY), clips)
    idx, mask = torch.from_numpy(records["target_idx"]).long(), clips.mask
    assert torch.equal(idx, mask.target_idx)
    pixels = normalize(clips.frames)
    context = model.encode_context(pixels, mask.context_idx)
    predicted = model.predict(context, mask.context_idx, mask.target_idx, mask.mask_type)
    for name, expected in {
        "predictions": predicted,
        "targets": model.targets(pixels, mask.target_idx),
    }.items():
        stored = torch.from_numpy(records[name]).float()
        torch.testing.assert_close(stored, expected, atol=2e-3, rtol=2e-3)
    clean = to_tubelets(clips.frames, idx, TINY)
    assert torch.equal(torch.from_numpy(records["tubelets"]).float() / 127.5 - 1, clean)


def test_nothing_that_a_mask_hides_is_left_out(model, source):
    """Every clip's hidden and visible tokens are the whole clip; a few clips share a mask."""
    material = OnlineExamples(source, model, Pixels(TINY), ALL_TARGETS)
    for clips in draw_groups(source, model.grid, 20, ALL_TARGETS, generator(2)):
        together = torch.cat([clips.mask.context_idx, clips.mask.target_idx], 1).sort(1).values
        assert torch.equal(together, torch.arange(TINY.num_tokens).expand(len(together), -1))
    seen = material.draw(0, torch.full((20,), CONDITIONS["predicted"]), ALL, generator())
    assert [len(each.clean) for each in seen] == [8, 8, 4]
    assert len({each.clean.shape[1] for each in seen}) > 1


def test_an_epoch_takes_every_example_once_and_the_next_in_another_order(
    open_cache, model, source, accelerator
):
    cache = open_cache(clips=20)
    cache.make(model, source, accelerator)
    condition = torch.full((10,), CONDITIONS["predicted"])
    parts = [part for step in range(4) for part in cache.draw(step, condition, ALL, generator())]
    codes = [tuple(row.flatten().tolist()) for part in parts for row in part.clean]
    assert len(set(codes[:20])) == 20
    assert set(codes[20:]) == set(codes[:20])
    assert codes[20:] != codes[:20]


def test_the_condition_says_which_features_are_read(open_cache, model, source, accelerator):
    cache = open_cache()
    cache.make(model, source, accelerator)
    kinds = {name: torch.full((2,), CONDITIONS[name]) for name in ("predicted", "target")}
    mixed = torch.tensor([CONDITIONS["target"], CONDITIONS["predicted"]])

    def features(condition, mine=ALL):
        (part,) = cache.draw(0, condition, mine, generator())
        return part.features

    predicted, true, both = map(features, (kinds["predicted"], kinds["target"], mixed))
    assert torch.equal(both[0], true[0]) and torch.equal(both[1], predicted[1])
    assert not torch.allclose(true, predicted, atol=0.1)
    assert torch.equal(features(mixed, slice(1, None, 2)), both[1:])


def test_a_stopped_cache_goes_on_to_the_same_files(
    open_cache, model, source, accelerator, monkeypatch, tmp_path
):
    whole = open_cache(clips=20)
    whole.make(model, source, accelerator)
    expected = shards(whole)
    for path in sorted(whole.folder.glob("*.npy"))[1:]:
        path.unlink()
    left = whole.folder / "000001.npy.1.partial"
    left.write_bytes(b"half a shard")
    os.utime(left, (1, 1))
    asked = []
    monkeypatch.setattr(
        caching,
        "fill_records",
        lambda part, *rest: asked.append(len(part)) or fill_records(part, *rest),
    )
    again = open_cache(clips=20)
    assert again.missing_clips == 12 and not left.exists()
    again.make(model, source, accelerator)
    assert sum(asked) == 12
    assert shards(again) == expected


def test_two_runs_that_fill_one_cache_leave_every_record_right(
    open_cache, model, source, accelerator, monkeypatch
):
    """The smaller of the two comes last with a shard that the larger one has written whole."""
    smaller, larger = open_cache(clips=12), open_cache(clips=20)
    compute, once = PredictionCache._compute, []

    def meanwhile(cache, *given):
        records = compute(cache, *given)
        if cache is smaller and not once:
            once.append(larger.make(model, source, accelerator))
        return records

    monkeypatch.setattr(PredictionCache, "_compute", meanwhile)
    smaller.make(model, source, accelerator)
    assert once and larger.missing == []
    whole = torch.full((20,), CONDITIONS["target"])
    assert sum(len(part.clean) for part in larger.draw(0, whole, ALL, generator())) == 20
    assert not list(larger.folder.glob("*.partial"))


def test_a_cache_grows(open_cache, model, source, accelerator):
    open_cache(clips=12).make(model, source, accelerator)
    larger = open_cache(clips=24)
    assert larger.missing == [1, 2]  # the second shard had four of its eight clips
    larger.make(model, source, accelerator)
    assert open_cache(clips=12).missing == []


@pytest.mark.parametrize("change", [{"seed": 1}, {"model_fingerprint": "0" * 12}, {"data": "x"}])
def test_a_cache_of_something_else_is_refused(open_cache, change):
    open_cache()
    with pytest.raises(InputError, match=next(iter(change))):
        open_cache(**change)


def test_a_video_replaced_under_its_name_is_noticed(open_cache, tmp_path):
    """Another size, or the same size and another time."""
    videos, seen = tmp_path / "videos", []
    videos.mkdir()
    for content, time in ((b"a", 1), (b"bb", 1), (b"cc", 2)):
        (videos / "one.mp4").write_bytes(content)
        os.utime(videos / "one.mp4", (time, time))
        seen.append(which_videos(str(videos)))
    assert len(set(seen)) == 3
    open_cache(videos=seen[0])
    with pytest.raises(InputError, match="made with videos 1 files"):
        open_cache(videos=seen[1])


def test_a_damaged_shard_is_named(open_cache, model, source, accelerator):
    cache = open_cache()
    cache.make(model, source, accelerator)
    epoch, path = torch.zeros(20, dtype=torch.long), cache.folder / "000000.npy"
    content = bytearray(path.read_bytes())
    content[-cache.layout.itemsize // 2] ^= 1  # one bit of one feature
    for damaged in (content, b"x" * 10**6):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"000000\.npy is damaged"):
            cache.draw(0, epoch, ALL, generator())


def test_a_full_disk_is_one_sentence(open_cache, model, source, accelerator, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    cache = open_cache()
    monkeypatch.setattr(caching.np, "save", full)
    with pytest.raises(InputError, match="too full"):
        cache.make(model, source, accelerator)
    assert not list(cache.folder.glob("*.partial"))
    usage = caching.shutil.disk_usage(cache.folder)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match="too full"):
        cache.make(model, source, accelerator)


def test_durations_in_words():
    assert [in_words(s) for s in (0.2, 40, 720, 12000)] == ["1 s", "40 s", "12 min", "3 h 20 min"]


@pytest.fixture
def model_folder(model, tmp_path):
    checkpoint.save(model, tmp_path / "model", torch.float32)
    return tmp_path / "model"


@pytest.fixture
def config(model_folder, tmp_path):
    return TrainConfig(
        out=tmp_path / "one",
        model=str(model_folder),
        levels=(0,),
        width=32,
        depth=1,
        num_heads=2,
        cache_clips=130,
        **SHORT,
    )


def test_a_run_killed_in_the_cache_and_in_training_ends_the_same(config, tmp_path, monkeypatch):
    train(config)
    broken = replace(config, out=tmp_path / "broken")
    stop_when(monkeypatch, PredictionCache, "_compute", lambda cache, shard, *_: shard == 2)
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    assert len(list((broken.out / "cache").glob("*.npy"))) == 2
    stop_when(monkeypatch, training, "draw_batch", lambda *given: given[3] == 3)
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    monkeypatch.undo()
    train(replace(broken, resume=True))
    assert losses(broken.out) == losses(config.out)


def stop_when(monkeypatch, home, name, condition):
    """Interrupts a function, and no other."""
    monkeypatch.undo()
    function = getattr(home, name)

    def call(*given):
        if condition(*given):
            raise KeyboardInterrupt
        return function(*given)

    monkeypatch.setattr(home, name, call)


@pytest.mark.parametrize("cache_clips", [0, 4])
def test_any_model_gets_a_decoder_for_the_clips_asked_for(config, golden, cache_clips):
    """V-JEPA 2.1's predictions are wider than its tokens; clips may be shorter than published."""
    source = golden / "vjepa21-a" / "checkpoint.pt"
    config = replace(config, model=str(source), num_frames=4, cache_clips=cache_clips, steps=2)
    folder = train(config)
    model = checkpoint.load(source, num_frames=4)
    assert model.config.output_dim != model.config.embed_dim
    assert find_decoder(model, config.out) == folder
    assert find_decoder(checkpoint.load(source), config.out) is None
    assert load_pipeline(folder, model).network.config.model_name == "checkpoint"


@pytest.mark.parametrize("online", [False, True])
def test_processes_share_the_samples_of_one(online, open_cache, config, model, source, accelerator):
    material = OnlineExamples(source, model, Pixels(TINY), 6)
    if not online:
        material = open_cache()
        material.make(model, source, accelerator)

    def draw(rank, count):
        place = {"process_index": rank, "num_processes": count, "device": torch.device("cpu")}
        process = Mock(spec=Accelerator, **place)
        return draw_batch(material, model.grid, config, 7, process)

    (whole,), halves = draw(0, 1), (draw(0, 2), draw(1, 2))
    for name, values in vars(whole).items():
        for rank, (half,) in enumerate(halves):
            torch.testing.assert_close(vars(half)[name], values[rank::2])


def test_two_processes_fill_the_cache_and_train_like_one(config, tmp_path):
    train(config)
    words = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words += ["-m", "decoder", "train", "--levels", "0", "--out", str(tmp_path / "two")]
    names = ("model", "width", "depth", "num_heads", "steps", "batch_size", "warmup", "precision")
    for name in (*names, "log_every", "cache_clips"):
        words += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "on 2 processes" in done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(config.out), rtol=1e-4)
    one, two = (sorted((f / "cache").glob("*.npy")) for f in (config.out, tmp_path / "two"))
    assert [path.name for path in one] == [path.name for path in two] != []
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(np.load(left)["target_idx"], np.load(right)["target_idx"])
