"""Features on disk: computed once, in any number of sittings, and never another model's."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny import TINY

from vjepa.analysis.features import (
    LabelledPhysics,
    LabelledVideoClips,
    LabelledWorld,
    TokenFile,
    encode,
    pool,
    token_path,
)
from vjepa.baselines import random_twin
from vjepa.data.clips import normalize
from vjepa.data.datasets import LabelledVideos
from vjepa.model import VJEPA, normalize_features


class Counting:
    """A model that counts the clips it is shown."""

    def __init__(self, model):
        self.model, self.shown = model, 0

    def encode(self, clips):
        self.shown += len(clips)
        return self.model.encode(clips)

    def state_dict(self):
        return self.model.state_dict()


@pytest.fixture(scope="module")
def model():
    return random_twin(VJEPA(TINY), seed=3)


def clips(count=64, split="train", **changes):
    return LabelledWorld(0, split, count, TINY, **changes)


def test_what_is_kept_is_what_the_model_says(model, tmp_path):
    tokens = encode({"tiny": model}, clips(40), tmp_path)["tiny"]
    frames, labels = next(clips(40).stream(0))
    features = normalize_features(model.encode(normalize(frames[:, 0, 0])))
    torch.testing.assert_close(tokens.read(np.arange(32))[:, 0], features, atol=2e-3, rtol=0)
    np.testing.assert_allclose(tokens.pooled[:32, 0], pool(features).numpy(), atol=1e-5)
    assert (tokens.label("motion")[:32] == labels["motion"]).all()
    assert len(tokens) == 40


def test_physics_clips_are_labelled_by_the_simulator_wherever_a_run_goes_on():
    clips = LabelledPhysics("train", 18, TINY, processes=1)
    pieces = list(clips.stream(16))
    ((frames, labels),) = pieces
    assert frames.shape == (2, 1, 1, TINY.num_frames, 48, 48, 3)
    assert labels["index"].tolist() == [16, 17]
    for place, number in enumerate((16, 17)):
        drawn = clips.world.clip((0, number))
        assert (labels["event"][place], labels["shape"][place]) == (drawn["event"], drawn["shape"])
        np.testing.assert_array_equal(frames[place, 0, 0], drawn["frames"])
    assert clips.digest != LabelledPhysics("test", 18, TINY).digest


def test_an_interrupted_run_goes_on_where_it_was(model, tmp_path):
    whole = encode({"tiny": model}, clips(), tmp_path / "whole")["tiny"]
    (tmp_path / "torn").mkdir()
    file = TokenFile(token_path(tmp_path / "torn", model, clips()), model, clips())
    file.append(*next(clips().stream(0)))
    with file.path.open("ab") as torn:
        torn.write(b"half a record")
    counting = Counting(model)
    resumed = encode({"tiny": counting}, clips(), tmp_path / "torn")["tiny"]
    assert counting.shown == 32 + 1  # the second batch; one asks how many tokens there are
    assert resumed.records.tobytes() == whole.records.tobytes()


def test_nothing_is_encoded_twice(model, tmp_path):
    encode({"tiny": model}, clips(), tmp_path)
    counting, other = Counting(model), Counting(random_twin(model, seed=4))
    again = encode({"tiny": counting, "other": other}, clips(), tmp_path)
    assert (counting.shown, other.shown) == (1, 65)
    assert not np.array_equal(again["tiny"].records["tokens"], again["other"].records["tokens"])
    fewer = encode({"tiny": counting}, clips(40), tmp_path)["tiny"]
    assert counting.shown == 2
    assert (fewer.label("appearance") == again["tiny"].label("appearance")[:40]).all()


def test_two_probes_at_once_on_one_cache_leave_every_record_right(model, tmp_path):
    """Two threads with locks of their own, as two processes would have: one waits."""
    expected = encode({"tiny": model}, clips(), tmp_path / "alone")["tiny"].records.tobytes()
    with ThreadPoolExecutor(2) as pool_of_two:
        runs = [
            pool_of_two.submit(encode, {"tiny": Counting(model)}, clips(), tmp_path / "shared")
            for _ in range(2)
        ]
    assert {run.result()["tiny"].records.tobytes() for run in runs} == {expected}


def test_a_video_replaced_under_its_name_is_noticed(tmp_path):
    path, seen = tmp_path / "one.mp4", set()
    for content, time in ((b"a", 1), (b"bb", 1), (b"cc", 2)):
        path.write_bytes(content)
        os.utime(path, (time, time))
        videos = LabelledVideos((path,), np.zeros(1, int), ("a",), tmp_path)
        seen.add(LabelledVideoClips(videos, TINY).digest)
    assert len(seen) == 3


def test_whatever_changes_the_features_changes_the_file(model, tmp_path):
    in_half = random_twin(VJEPA(TINY), seed=3).bfloat16()
    asked = [
        (model, clips()),
        (in_half, clips()),
        (random_twin(model, seed=4), clips()),
        (model, clips(split="test")),
        (model, clips(seed=1)),
        (model, LabelledWorld(1, "train", 64, TINY)),
    ]
    assert len({token_path(tmp_path, *pair) for pair in asked}) == len(asked)
    assert token_path(tmp_path, model, clips(50)) == token_path(tmp_path, *asked[0])


def test_pooling_ignores_the_order_of_tokens():
    tokens = torch.randn(2, 10, 4)
    torch.testing.assert_close(pool(tokens), pool(tokens[:, torch.randperm(10)]))
