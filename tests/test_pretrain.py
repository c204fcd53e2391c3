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
from vjepa.beginning import begin
from vjepa.data.sources import RandomCrop, StoredClips, open_source, store
from vjepa.errors import InputError
from vjepa.masks import draw_masks
from vjepa.model import VJEPA
from vjepa.pretrain import pretrain
from vjepa.recipes import PretrainConfig
from vjepa.training import cosine, effective_rank, feature_spread, linear, warmup_cosine
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


def train(config):
    return pretrain(config, *begin(config))


PACE = ("clips_per_second", "data_wait")


def metrics(folder):
    """Lines of metrics, but for those that say how fast it went."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in r.items() if k not in ("clips_per_second", "data_wait")} for r in rows
    ]


def test_a_run_writes_metrics_and_a_model_that_loads(run_config):
    folder = train(run_config)
    rows = metrics(run_config.out)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row["spread"] > 0 and row["rank"] > 1 for row in rows)
    model = vjepa.load(folder, device="cpu", dtype=torch.float32)
    assert model.config == TINY
    assert not any(p.requires_grad for p in model.parameters())


def test_training_lowers_the_loss(run_config):
    longer = replace(run_config, steps=40, lr=2e-3, batch_size=8, save_every=100)
    train(longer)
    losses = [row["loss"] for row in metrics(longer.out)]
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


def test_gradient_checkpointing_changes_no_result(run_config):
    train(run_config)
    sparing = replace(run_config, out=run_config.out / "sparing", gradient_checkpointing=True)
    train(sparing)
    assert metrics(sparing.out) == metrics(run_config.out)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own, while it traces checks
@pytest.mark.parametrize("sparing", [False, True])
def test_compiled_blocks_follow_the_same_losses(run_config, monkeypatch, sparing):
    """As traced; generating code takes a minute, and is torch's."""
    compile_ = torch.nn.Module.compile
    traced = []

    def without_code(block, **options):
        traced.append(block)
        compile_(block, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", without_code)
    train(replace(run_config, steps=3))
    own = {"compile": True, "gradient_checkpointing": sparing, "steps": 3}
    compiled = replace(run_config, out=run_config.out / "compiled", **own)
    train(compiled)
    assert len(traced) == 2 * TINY.depth + TINY.predictor_depth
    for ours, theirs in zip(metrics(compiled.out), metrics(run_config.out), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_run_is_not_overwritten(run_config):
    train(run_config)
    with pytest.raises(InputError, match="--resume"):
        train(run_config)


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
        train(replace(run_config, resume=True))


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


def test_crops_are_the_same_in_time_and_have_the_model_s_size():
    still = np.random.default_rng(0).integers(0, 255, (1, 32, 40, 3), np.uint8).repeat(4, axis=0)
    crops = [
        RandomCrop(24, (0.3, 1), (0.75, 1.35), torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    cropped, again, other = (crop(still) for crop in crops)
    assert cropped.shape == (4, 24, 24, 3) and (cropped == cropped[:1]).all()
    one_by_one = np.stack([crops[0](frame) for frame in still])
    assert (cropped == again).all() and (cropped == one_by_one).all() and (cropped != other).any()


def test_an_unknown_preset_is_told_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="vitl16"):
        PretrainConfig(out=tmp_path, preset="vit_giant")


@pytest.mark.parametrize("settings", [{"rarity": -1.0}, {"rarity": 2.0, "objective": "pixels"}])
def test_a_rarity_that_means_nothing_is_refused(tmp_path, settings):
    with pytest.raises(InputError, match="rarity must be"):
        PretrainConfig(out=tmp_path, **settings)


def test_a_run_counts_rare_tokens_more_where_it_is_told_to(tmp_path):
    settings = {"out": tmp_path, "begin_with": "demo", "data": "bundled", "objective": "predictor"}
    model, _ = begin(PretrainConfig(**settings, rarity=2.0))
    assert model.rarity == 2.0
    assert begin(PretrainConfig(**settings))[0].rarity == 0.0


@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, "bf16"), (torch.float32, "no")])
def test_bf16_is_used_where_the_machine_computes_in_it(monkeypatch, tmp_path, dtype, expected):
    monkeypatch.setattr(training, "default_dtype", lambda device: dtype)
    assert PretrainConfig(out=tmp_path).mixed_precision == expected
    assert PretrainConfig(out=tmp_path, precision="no").mixed_precision == "no"
