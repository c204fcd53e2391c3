"""Runs that nothing harms: changed settings, kills, signals, full disks, damaged files."""

import errno
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import SHORT, TINY, losses

from vjepa import checkpoint, errors, storage
from vjepa import config as configs
from vjepa import pretrain as pretraining
from vjepa.beginning import begin
from vjepa.errors import InputError, StoppedError
from vjepa.formats.download import fetch
from vjepa.pretrain import pretrain
from vjepa.recipes import PretrainConfig


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setitem(configs.SHAPES, "tiny", TINY)
    np.save(
        tmp_path / "clips.npy",
        np.random.default_rng(0).integers(0, 256, (9, 4, 48, 48, 3), np.uint8),
    )
    return PretrainConfig(
        out=tmp_path / "run",
        data=str(tmp_path / "clips.npy"),
        preset="tiny",
        keep_every=4,
        **SHORT,
    )


def train(config):
    return pretrain(config, *begin(config))


def refused(config):
    with pytest.raises(InputError) as caught:
        train(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def weights(config):
    return torch.load(config.out / "last.pt", weights_only=True)["model"]


def interrupt(monkeypatch, at, act):
    """Does something at the beginning of a step, counted from 0."""
    step = pretraining.train_step

    def watched(run, *rest):
        if run.step == at:
            act(run)
        return step(run, *rest)

    monkeypatch.setattr(pretraining, "train_step", watched)
    return lambda: monkeypatch.setattr(pretraining, "train_step", step)


def killed(run):
    raise RuntimeError("killed")


def test_a_killed_run_goes_on_as_if_it_had_not_been(config, tmp_path, monkeypatch):
    train(config)
    broken = replace(config, out=tmp_path / "broken")
    mend = interrupt(monkeypatch, 5, killed)
    with pytest.raises(RuntimeError, match="killed"):
        train(broken)
    with (broken.out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # a torn line
    mend()
    train(replace(broken, resume=True))
    assert losses(broken.out) == losses(config.out)
    ours, theirs = weights(broken), weights(config)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    kept = [path.name for path in (config.out / "snapshots").iterdir()]
    assert kept == ["step-0000004.pt"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_a_run_saves_and_says_so(config, monkeypatch, capsys, number, code):
    before = signal.getsignal(number)
    mend = interrupt(monkeypatch, 2, lambda run: os.kill(os.getpid(), number))
    with pytest.raises(StoppedError):
        train(config)
    mend()
    assert signal.getsignal(number) is before
    assert torch.load(config.out / "last.pt", weights_only=True)["step"] == 3
    mend = interrupt(monkeypatch, 4, lambda run: os.kill(os.getpid(), number))
    monkeypatch.setattr("sys.argv", ["vjepa", "go"])
    with pytest.raises(SystemExit) as stop:
        errors.run_command({"go": lambda: train(replace(config, resume=True))}, prog="vjepa")
    mend()
    said = capsys.readouterr().err
    assert "stopped after step 5, which is saved: go on with --resume" in said
    assert "Traceback" not in said and stop.value.code == code


def test_changed_settings_are_refused_by_name_unless_they_are_named(config):
    train(config)
    longer = replace(config, resume=True, steps=8, lr=1e-4, log_every=2, workers=0)
    assert "steps was 6 when this run was saved and is 8 now" in refused(longer)
    assert "--change lr" in refused(replace(longer, change=("steps",)))
    folder = train(replace(longer, change=("steps", "lr")))
    changes = json.loads((folder / "training.json").read_text())["changes"]
    assert [(c["step"], c["name"], c["from"], c["to"]) for c in changes] == [
        (6, "steps", 6, 8),
        (6, "lr", 0.003, 1e-4),
    ]
    train(replace(longer, change=("steps", "lr")))
    saved = torch.load(config.out / "last.pt", weights_only=True)
    assert saved["config"]["lr"] == 1e-4 and saved["changes"] == changes


def test_checkpoints_of_before_are_gone_on_from(config, caplog):
    train(config)
    state = torch.load(config.out / "last.pt", weights_only=True)
    torch.save(
        {name: state[name] for name in ("model", "optimizer", "step")}, config.out / "last.pt"
    )
    train(replace(config, resume=True, steps=7))
    assert "names no settings" in caplog.text
    assert losses(config.out)[-1][0] == 7


def test_settings_are_there_from_the_start(config, monkeypatch):
    mend = interrupt(monkeypatch, 0, killed)
    with pytest.raises(RuntimeError, match="killed"):
        train(config)
    mend()
    found = json.loads((config.out / "training.json").read_text())["config"]
    assert found["steps"] == 6 and found["preset"] == "tiny"


def test_a_damaged_checkpoint_is_a_sentence(config):
    train(config)
    content = bytearray((config.out / "last.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (config.out / "last.pt").write_bytes(content)
    said = refused(replace(config, resume=True))
    assert "damaged" in said and "step-0000004.pt" in said
    (config.out / "last.pt").write_bytes(b"nothing")
    assert "damaged" in refused(replace(config, resume=True))


def test_a_folder_that_cannot_be_written_is_a_sentence_at_the_start(config, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert "cannot be written" in refused(replace(config, out=tmp_path / "file" / "run"))


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_sentence_and_loses_nothing(config, monkeypatch):
    save, saved = torch.save, []

    def once(state, path):
        saved.append(state["step"])
        full() if len(saved) == 2 else save(state, path)

    monkeypatch.setattr(torch, "save", once)
    assert "The disk is full" in refused(config)
    monkeypatch.setattr(torch, "save", save)
    assert torch.load(config.out / "last.pt", weights_only=True)["step"] == 2
    assert not list(config.out.glob("*.partial"))
    train(replace(config, resume=True))


def test_a_disk_that_is_too_small_is_known_at_the_start(config, monkeypatch):
    usage = storage.shutil.disk_usage("/")
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "too full" in refused(config)


def test_stored_clips_have_their_room_before_they_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match="disk is full"):
        storage.new_array(tmp_path / "clips.npy", (2, 4, 8, 8, 3))
    assert not (tmp_path / "clips.npy").exists()


def test_a_loss_that_is_no_number_ends_the_run(config, monkeypatch):
    def spoil(run):
        with torch.no_grad():
            for parameter in run.model.encoder.parameters():
                parameter.fill_(float("nan"))

    mend = interrupt(monkeypatch, 3, spoil)
    assert "The loss is nan at step 4" in refused(config)
    mend()
    assert torch.load(config.out / "last.pt", weights_only=True)["step"] == 2


def test_a_download_of_zeros_never_gets_its_name(tmp_path, monkeypatch):
    part, path = tmp_path / "model.pth.tar.0.part", tmp_path / "model.pth.tar"
    part.write_bytes(bytes(4096))
    monkeypatch.setattr("vjepa.formats.download._describe", lambda url: (4096, "0"))
    with pytest.raises(InputError, match="not what was published") as caught:
        fetch("http://nowhere", path, check=checkpoint.require_whole)
    assert "\n" not in str(caught.value)
    assert not path.exists() and not part.exists()


def test_a_download_is_opened_and_compared_tensor_by_tensor(golden, tmp_path):
    for name in ("config.json", "checkpoint.pth.tar"):
        (tmp_path / name).write_bytes((golden / "vjepa1-a" / name).read_bytes())
    path = tmp_path / "checkpoint.pth.tar"
    checkpoint.require_whole(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        checkpoint.require_whole(path)
