"""Sixty steps of the official code, followed: losses, schedules, gradient norms, weights."""

import json
import math

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from vjepa import checkpoint
from vjepa.__main__ import COMMANDS
from vjepa.batches import TrainingBatch
from vjepa.errors import run_command
from vjepa.masks import MaskBatch
from vjepa.pretrain import PretrainState, train_step
from vjepa.recipes import RECIPES, PretrainConfig
from vjepa.training import adamw

KINDS = ("short", "long")


@pytest.fixture
def trajectory(golden):
    """Settings and numbers of the official run, its clips, and its masks."""
    folder = golden / "vjepa1-trajectory"
    return json.loads((folder / "expected.json").read_text()), load_file(
        folder / "inputs.safetensors"
    )


def config_of(official, out):
    """Our settings for an official run."""
    ipe = official["iterations_per_epoch"]
    return PretrainConfig(
        out=out,
        objective="features",
        optimizer="adamw",
        batch_size=official["batch"],
        steps=official["epochs"] * ipe,
        warmup=official["warmup_epochs"] * ipe,
        stretch=official["ipe_scale"],
        weight_decay=tuple(official["weight_decay"]),
        ema=tuple(official["ema"]),
        clip_grad=official["clip_grad"],
        clip_after=(official["warmup_epochs"] + 1) * ipe,
        **{name: official[name] for name in ("start_lr", "lr", "final_lr")},
        precision="no",
    )


@pytest.mark.parametrize("count", [1, 2])
def test_sixty_steps_follow_the_official_ones(golden, trajectory, tmp_path, count):
    official, inputs = trajectory
    config = config_of(official, tmp_path)
    model = checkpoint.load(golden / "vjepa1-a/checkpoint.pth.tar", dtype=torch.float32)
    model.encoder.requires_grad_(True)
    model.predictor.requires_grad_(True)
    run = PretrainState(model, adamw(model, config.lr, max(config.weight_decay)))
    accelerator = Accelerator(cpu=True)
    for row in official["steps"]:
        step = row["step"]
        masks = [
            MaskBatch(*(inputs[f"{part}_{step}_{kind}"].long() for part in PARTS), kind)
            for kind in KINDS
        ]
        batch = TrainingBatch(inputs["frames"][step % 2], masks, [])
        losses, metrics = train_step(run, model, parts(batch, count), count, config, accelerator)
        assert losses.tolist() == pytest.approx([row["loss_short"], row["loss_long"]], abs=1e-4)
        for name in ("lr", "weight_decay", "momentum"):
            assert metrics[name] == pytest.approx(row[name], abs=1e-9)
        for part in ("encoder", "predictor"):
            if row[f"{part}_norm"] is not None:
                norm = float(metrics[f"{part}_norm"])
                assert norm == pytest.approx(row[f"{part}_norm"], rel=1e-3)
    after = json.loads((golden / "vjepa1-trajectory/after.json").read_text())
    state = model.state_dict()
    assert state.keys() == after.keys()
    for name, (*some, norm) in after.items():
        tensor = state[name].flatten()
        found = tensor[:: max(1, len(tensor) // 8)][:8].tolist()
        assert found == pytest.approx(some, abs=1e-4)
        assert float(tensor.norm()) == pytest.approx(norm, rel=1e-4)


PARTS = ("context_idx", "target_idx")


def parts(batch, count):
    """A batch in equal parts."""
    size = len(batch.frames) // count
    for start in range(0, len(batch.frames), size):
        rows = slice(start, start + size)
        yield TrainingBatch(batch.frames[rows], [masks.part(rows) for masks in batch.masks], [])


# facebookresearch/jepa at 51c59d5, configs/pretrain/vitl16.yaml, vith16.yaml, vith16_384.yaml
SHARED = {
    "precision": "bf16",
    "seed": 234,
    "crop_aspect": [0.75, 1.35],
    "crop_scale": [0.3, 1.0],
    "frame_step": 4,
    "workers": 12,
    "stretch": 1.25,
    "clip_grad": 10.0,
    "weight_decay": [0.04, 0.4],
    "steps": 300 * 300,
    "warmup": 40 * 300,
    "clip_after": 41 * 300,
    "start_lr": 0.0002,
    "lr": 0.000625,
    "final_lr": 1.0e-06,
    "ema": [0.998, 1.0],
    "objective": "features",
    "optimizer": "adamw",
    "max_targets": 0,
    "future": 0.0,
    "span": 0.0,
}
SHAPE = {
    "num_frames": 16,
    "tubelet_size": 2,
    "patch_size": 16,
    "num_heads": 16,
    "predictor_embed_dim": 384,
    "predictor_depth": 12,
    "num_mask_tokens": 2,
    "mlp_ratio": 4.0,
    "patch_init_std": 0.02,
}
MASKED = {"aspect_ratio": [0.75, 1.5], "through_all_time": True}
SIZES = {
    "vitl16": (128, 24, {"image_size": 224, "embed_dim": 1024, "depth": 24}),
    "vith16": (128, 24, {"image_size": 224, "embed_dim": 1280, "depth": 32}),
    "vith16-384": (240, 10, {"image_size": 384, "embed_dim": 1280, "depth": 32}),
}


@pytest.mark.parametrize("recipe", SIZES)
def test_published_recipes_are_the_published_numbers(monkeypatch, capsys, recipe):
    gpus, share, shape = SIZES[recipe]
    monkeypatch.setattr("sys.argv", ["vjepa", "pretrain", "--recipe", recipe, "--print"])
    run_command(COMMANDS, prog="vjepa")
    printed = json.loads(capsys.readouterr().out)
    assert printed["batch_size"] == gpus * share and printed["mask_batch"] == share
    assert printed.items() >= SHARED.items()
    assert printed["model"].items() >= (SHAPE | shape).items()
    assert printed["masks"] == [
        {"kind": "short", "num_blocks": 8, "spatial_scale": 0.15, **MASKED},
        {"kind": "long", "num_blocks": 2, "spatial_scale": 0.7, **MASKED},
    ]


def official_schedules(step):
    """Rate, decay and momentum as the official code has them at a step, the first of which is 0."""
    total, warmup, i = int(1.25 * 300 * 300), 40 * 300, step + 1
    if i < warmup:
        lr = 0.0002 + i / warmup * (0.000625 - 0.0002)
    else:
        bend = 0.5 * (1 + math.cos(math.pi * (i - warmup) / (total - warmup)))
        lr = max(1e-6, 1e-6 + (0.000625 - 1e-6) * bend)
    decay = 0.4 + (0.04 - 0.4) * 0.5 * (1 + math.cos(math.pi * i / total))
    return {"lr": lr, "weight_decay": decay, "momentum": 0.998 + step * 0.002 / (300 * 300 * 1.25)}


def test_schedules_are_the_official_ones(tmp_path):
    config = PretrainConfig(out=tmp_path, **RECIPES["vitl16"])
    worst = max(
        abs(ours - official)
        for step in {*range(0, 90_000, 37), *range(11_990, 12_010), 89_999}
        for ours, official in zip(
            config.schedules(step).values(), official_schedules(step).values(), strict=True
        )
    )
    assert worst < 1e-9


def test_what_is_said_counts_more_than_the_recipe(monkeypatch, capsys):
    line = "vjepa pretrain --lr 1e-4 --recipe vitl16 --print --weight-decay 0.1 0.2"
    monkeypatch.setattr("sys.argv", line.split())
    run_command(COMMANDS, prog="vjepa")
    printed = json.loads(capsys.readouterr().out)
    assert printed["lr"] == 1e-4 and printed["weight_decay"] == [0.1, 0.2]
    assert printed["final_lr"] == 1e-6
