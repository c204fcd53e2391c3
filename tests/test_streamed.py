"""Streamed probes: what is drawn depends on seed, epoch and video; published probes are scored."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import write_classes
from PIL import Image
from tiny import TINY, tiny_model

import vjepa.__main__ as commands
from vjepa import checkpoint
from vjepa.analysis import streamed
from vjepa.analysis.attentive import AttentiveProbe, load_probe, save_probe
from vjepa.analysis.streamed import StreamConfig, TrainingClips, outputs_of, plan, train_streamed
from vjepa.data.datasets import LabelledVideos, open_dataset
from vjepa.data.views import read_views
from vjepa.errors import InputError


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Class folders of dark and of bright videos, one of them broken."""
    root = tmp_path_factory.mktemp("videos")
    write_classes(root, {"train": 4, "test": 2}, length=6)
    (root / "train" / "dark" / "1.mp4").write_bytes(b"no video")
    return root


@pytest.fixture
def config(tmp_path):
    few = {"epochs": 2, "batch_size": 4, "clips": 2, "views": 1, "workers": 0, "log_every": 1}
    return StreamConfig(out=tmp_path / "run", **few)


def test_a_crop_depends_on_seed_epoch_and_video_alone(videos, config, caplog):
    clips = TrainingClips(open_dataset(videos, split="train"), TINY, config)
    first, label = clips[0, 2]
    torch.manual_seed(5)
    assert torch.equal(clips[0, 2][0], first)
    assert not torch.equal(clips[1, 2][0], first)
    assert first.shape == (2, TINY.num_frames, TINY.image_size, TINY.image_size, 3)
    broken = [path.name for path in clips.videos.paths].index("1.mp4", 4)
    taken, its_label = clips[0, broken]
    assert "passed over" in caplog.text and its_label == clips.videos.labels[broken + 1]
    assert abs(taken.float().mean() - clips[0, broken + 1][0].float().mean()) < 10
    assert label == clips.videos.labels[2]


def test_crops_are_of_the_whole_frame_at_its_own_resolution(config, make_video):
    """The ends of a wide video are seen, and stripes that shrinking would blur."""
    frames = np.full((6, 96, 384, 3), 60, np.uint8)
    frames[:, ::2] = 180
    frames[:, :, :96, 0] += 60  # a middle square has neither end
    frames[:, :, -96:, 2] += 60
    path = make_video(frames, 10)
    videos = LabelledVideos((path,) * 16, np.zeros(16, int), ("a",), path)
    clips = TrainingClips(videos, TINY, replace(config, scale=(0.02, 0.05)))
    seen = [clips[0, index][0].float() for index in range(16)]
    reddish = np.array([float((clip[..., 0] - clip[..., 2]).mean()) for clip in seen])
    assert reddish.max() > 30 and reddish.min() < -30
    assert max(float(clip.mean(-1).std(-2).mean()) for clip in seen) > 30


def test_every_epoch_takes_every_video_once_whatever_the_processes(config):
    steps = plan(8, config)
    assert len(steps) == 4
    for epoch in range(2):
        taken = [i for step in steps[2 * epoch : 2 * epoch + 2] for _, i in step]
        assert sorted(taken) == list(range(8))
    with pytest.raises(InputError, match="3 videos fill no batch of 4"):
        plan(3, config)


def test_a_run_killed_and_resumed_ends_in_the_same_probe(model, videos, config, monkeypatch):
    pair = [open_dataset(videos, split=split) for split in ("train", "test")]
    row = train_streamed(model, *pair, config)
    assert row["videos"] == 4 and row["accuracy"]["ci95"][0] >= 0
    broken, step = replace(config, out=config.out.parent / "broken", save_every=1), streamed._step
    taken = []

    def interrupted(*given):
        taken.append(1)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(streamed, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_streamed(model, *pair, broken)
    assert train_streamed(model, *pair, replace(broken, resume=True)) == row
    one, other = ((c.out / "probe" / "probe.safetensors").read_bytes() for c in (config, broken))
    assert one == other


def test_a_probe_as_deep_as_v_jepa_2_s_is_trained_kept_and_read(model, videos, config):
    pair = [open_dataset(videos, split=split) for split in ("train", "test")]
    deep = replace(config, depth=3, epochs=1)
    row = train_streamed(model, *pair, deep)
    probe = load_probe(deep.out / "probe")
    assert len(probe.blocks) == 3
    assert streamed.score_probe(model, probe, pair[1], clips=2, views=1) == row
    with pytest.raises(InputError, match="depth must be 0 or more"):
        replace(config, depth=-1)


def test_a_probe_s_file_is_scored_as_its_answers_say(model, videos, tmp_path, capsys):
    probe = AttentiveProbe(
        TINY.embed_dim, 2, 2, ("Bright", "dark"), generator=torch.Generator().manual_seed(0)
    )
    save_probe(probe, tmp_path / "probe")
    checkpoint.save(model, tmp_path / "model", torch.float32)
    options = {"data": videos, "clips": 2, "views": 3, "json_line": True}
    commands.probe(str(tmp_path / "model"), probe_file=tmp_path / "probe", **options)
    row = json.loads(capsys.readouterr().out)
    test, right = open_dataset(videos, split="test"), []
    for path, label in zip(test.paths, test.labels, strict=True):
        views = torch.from_numpy(read_views(path, TINY, 2, 3)).transpose(0, 1)
        answers = [probe(model.encode(view).flatten(0, 1)[None]).softmax(-1) for view in views]
        right.append(int(torch.cat(answers).mean(0).argmax()) == label)  # bright, dark in both
    assert row["accuracy"]["mean"] == np.mean(right)
    assert row["videos"] == 4


def test_outputs_are_found_by_name_or_by_number(videos):
    data = open_dataset(videos, split="test")
    named = AttentiveProbe(TINY.embed_dim, 2, 3, ("dark", "dim", "bright"))
    assert outputs_of(data, named) == [2, 0]
    nameless = AttentiveProbe(TINY.embed_dim, 2, 3)
    assert outputs_of(replace(data, classes=("2", "0")), nameless) == [2, 0]
    with pytest.raises(InputError, match="no output for the class 'bright'"):
        outputs_of(data, nameless)


def test_folders_of_pictures_are_clips_that_stand_still(config, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (60, 50), "red").save(tmp_path / "pictures" / name / "0.png")
    clips = TrainingClips(open_dataset(tmp_path / "pictures"), TINY, config)
    frames, label = clips[0, 1]
    assert label == 1 and (frames == frames[:, :1]).all()
