"""Pretraining: it learns, it resumes to the same trajectory, it says when features collapse."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY

import vjepa
from vjepa import config as configs
from vjepa import training
from vjepa.data import sources
from vjepa.data.sources import StoredClips, open_source, random_resized_crop, store
from vjepa.errors import InputError
from vjepa.masks import draw_masks
from vjepa.model import VJEPA
from vjepa.pretrain import PretrainConfig, effective_rank, feature_spread, pretrain
from vjepa.training import cosine, linear, warmup_cosine
from vjepa.vjepa2 import CONTEXT_WEIGHT, DenseVJEPA


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(configs.SHAPES, "tiny", TINY)


@pytest.fixture
def run_config(tmp_path):
    return PretrainConfig(
        out=tmp_path / "run",
        preset="tiny",
        levels=(0,),
        steps=6,
        batch_size=4,
        warmup=2,
        precision="no",
        save_every=3,
        log_every=1,
    )


def metrics(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "clips_per_second"} for row in rows]


def test_a_run_writes_metrics_and_a_model_that_loads(run_config):
    folder = pretrain(run_config)
    rows = metrics(run_config.out)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row["spread"] > 0 and row["rank"] > 1 for row in rows)
    model = vjepa.load(folder, device="cpu", dtype=torch.float32)
    assert model.config == TINY
    assert not any(p.requires_grad for p in model.parameters())


def test_a_resumed_run_follows_the_same_trajectory(run_config, tmp_path, monkeypatch):
    pretrain(run_config)
    broken = replace(run_config, out=tmp_path / "broken")

    def draw_or_stop(source, config, step, accelerator, draw=vjepa.pretrain.draw_batch):
        if step == 4 and not config.resume:
            raise KeyboardInterrupt
        return draw(source, config, step, accelerator)

    monkeypatch.setattr("vjepa.pretrain.draw_batch", draw_or_stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(broken)
    assert len(metrics(broken.out)) == 4
    pretrain(replace(broken, resume=True))
    assert metrics(broken.out) == metrics(run_config.out)


def test_training_lowers_the_loss(run_config):
    longer = replace(run_config, steps=40, lr=2e-3, batch_size=8, save_every=100)
    pretrain(longer)
    losses = [row["loss"] for row in metrics(longer.out)]
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


def test_a_run_is_not_overwritten(run_config):
    pretrain(run_config)
    with pytest.raises(InputError, match="--resume"):
        pretrain(run_config)


def test_the_dense_loss_adds_the_visible_tokens_and_nothing_to_the_model():
    torch.manual_seed(0)
    dense, generator = DenseVJEPA(TINY), torch.Generator().manual_seed(0)
    plain = dense.trained()
    assert type(plain) is VJEPA
    assert plain.state_dict().keys() == VJEPA(TINY).state_dict().keys()
    clips = torch.randn(2, 3, TINY.num_frames, TINY.image_size, TINY.image_size)
    drawn = draw_masks(TINY.grid, 2, 8, generator)
    with torch.no_grad():
        added = dense.loss(clips, drawn) - plain.loss(clips, drawn)
        targets = dense.target_features(clips)
        for mask, extra in zip(drawn, added, strict=True):
            head = dense.context_head(dense.encode_context(clips, mask.context_idx))
            rows = mask.context_idx[..., None].expand(-1, -1, head.shape[-1])
            expected = (head - targets.gather(1, rows)).abs().mean()
            assert extra == pytest.approx(CONTEXT_WEIGHT * expected.item(), abs=1e-5)
    dense.loss(clips, drawn).mean().backward()
    assert all(p.grad is not None for p in dense.context_head.parameters())


def test_future_masks_stand_in_for_long_ones(tmp_path):
    t, h, w = grid = (8, 3, 3)
    generator, kept = torch.Generator().manual_seed(0), set()
    for _ in range(60):
        short, long = draw_masks(grid, 2, 500, generator, future=1.0)
        steps = (long.context_idx // (h * w)).amax().item() + 1
        assert long.context_idx.shape[1] == steps * h * w
        assert long.target_idx.shape[1] == (t - steps) * h * w
        assert long.target_idx.min() == steps * h * w
        assert set((short.context_idx // (h * w)).unique().tolist()) == set(range(t))
        kept.add(steps)
    assert kept == {1, 2, 3, 4}
    with pytest.raises(InputError, match="share"):
        PretrainConfig(out=tmp_path, future=1.5)


def test_nothing_to_resume(run_config):
    with pytest.raises(InputError, match="without --resume"):
        pretrain(replace(run_config, resume=True))


def test_stored_clips_are_the_source_s(tmp_path):
    source = open_source("world", TINY, levels=(0,), device=torch.device("cpu"))
    path = tmp_path / "clips.npy"
    store(source, path, 6, seed=3, chunk=4)
    clips = np.load(path)
    drawn = source.sample(4, torch.Generator().manual_seed(3)).numpy()
    assert clips.shape == (6, 4, 48, 48, 3)
    np.testing.assert_array_equal(clips[:4], drawn)
    sample = StoredClips(path, TINY).sample(3, torch.Generator().manual_seed(0)).numpy()
    assert all(any((clip == stored).all() for stored in clips) for clip in sample)


@pytest.mark.parametrize("data", ["nowhere", "bad.npy", "shape.npy", "empty"])
def test_bad_data_gets_one_sentence(tmp_path, data):
    (tmp_path / "bad.npy").write_bytes(b"not numpy")
    np.save(tmp_path / "shape.npy", np.zeros((2, 4, 9, 9, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        open_source(str(tmp_path / data), TINY, levels=(0,), device=torch.device("cpu"))
    assert "\n" not in str(caught.value)


def test_schedules():
    assert linear(5, 10, 0, 1) == 0.5
    assert cosine(0, 10, 2, 1) == 2
    assert cosine(10, 10, 2, 1) == 1
    shape = {"warmup": 5, "start": 0.1, "peak": 1.0, "end": 0.0}
    assert warmup_cosine(0, 20, **shape) == pytest.approx(0.1)
    assert warmup_cosine(5, 20, **shape) == 1.0
    assert warmup_cosine(20, 20, **shape) == pytest.approx(0.0)


def test_collapse_is_seen():
    generator = torch.Generator().manual_seed(0)
    alive = torch.randn(8, 20, 16, generator=generator)
    position_only = torch.randn(1, 20, 16, generator=generator).expand(8, -1, -1)
    one_direction = torch.randn(8, 20, 1, generator=generator) * torch.ones(16)
    assert feature_spread(alive) == pytest.approx(1, abs=0.1)
    assert feature_spread(position_only) == pytest.approx(0, abs=1e-6)
    assert effective_rank(alive) > 14
    assert effective_rank(one_direction) < 1.5


def test_crops_are_the_same_in_time_and_keep_the_size():
    still = torch.randint(0, 255, (3, 1, 32, 32, 3), dtype=torch.uint8).expand(-1, 4, -1, -1, -1)
    cropped = random_resized_crop(still, (0.3, 1), generator=torch.Generator().manual_seed(0))
    assert cropped.shape == still.shape
    assert (cropped == cropped[:, :1]).all()
    assert not torch.equal(cropped, still)


def test_an_unknown_preset_is_told_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="vitl16"):
        PretrainConfig(out=tmp_path, preset="vit_giant")


@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, "bf16"), (torch.float32, "no")])
def test_bf16_is_used_where_the_machine_computes_in_it(monkeypatch, tmp_path, dtype, expected):
    monkeypatch.setattr(training, "default_dtype", lambda device: dtype)
    assert PretrainConfig(out=tmp_path).mixed_precision == expected
    assert PretrainConfig(out=tmp_path, precision="no").mixed_precision == "no"


def test_crops_use_no_kernel_of_bytes_but_on_a_cpu(monkeypatch):
    """CUDA has none for antialiased interpolation: there it would end a run at its first step."""
    frames = torch.randint(0, 256, (1, 2, 24, 24, 3), dtype=torch.uint8)
    real, seen = sources.F.interpolate, []

    def watched(x, *args, **kwargs):
        seen.append((x.device.type, x.dtype))
        return real(x, *args, **kwargs)

    monkeypatch.setattr(sources.F, "interpolate", watched)
    generator = torch.Generator().manual_seed(0)
    cropped = random_resized_crop(frames.to("meta"), (0.5, 1.0), generator=generator)
    assert cropped.dtype == torch.uint8 and seen == [("meta", torch.float32)]
