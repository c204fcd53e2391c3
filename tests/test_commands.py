"""Command lines: they do their work, and bad input is one line and exit code 2."""

import json
import shutil
import sys

import numpy as np
import pytest

import decoder.__main__ as decoder_commands
import vjepa.__main__ as vjepa_commands
from vjepa import errors
from vjepa.formats.published import ASSETS

PROGRAMS = {"vjepa": vjepa_commands.COMMANDS, "decoder": decoder_commands.COMMANDS}


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command line in this process: (exit code, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        code = 0
        try:
            errors.run_command(PROGRAMS[words[0]], prog=words[0])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("vjepa pretrain --out {tmp}/run --preset giant", "no preset 'giant'"),
        ("vjepa pretrain --out {tmp}/run --data {tmp}/nothing", "no data"),
        ("vjepa pretrain --out {tmp}/run --resume", "without --resume"),
        ("vjepa store --out {tmp}/clips.npy --levels 9", "level"),
        ("vjepa store --out {tmp}/clips.npy --static .5", "Only physics clips"),
        ("vjepa probe --task smell", "no task 'smell'"),
        ("vjepa probe --model {tmp}", "config.json"),
        ("decoder train --out {tmp}/run --model {tmp}/nothing", "no model"),
        ("decoder evaluate --model {tmp}", "config.json"),
        ("decoder evaluate --clips {tmp}", "holds no video"),
        ("decoder evaluate --n 1", "at least 2 clips"),
        ("decoder decode {tmp}/nothing.mp4 --out {tmp}/out.mp4", "nothing.mp4"),
        ("decoder decode {clip} --out {tmp}/out.txt", ".mp4 or .gif"),
        ("decoder decode --out {tmp}/out.gif", "nothing to decode"),
        ("decoder decode {clip} --out {tmp}/out.gif --mask ring", "no mask preset 'ring'"),
        ("decoder decode {clip} --out {tmp}/out.gif --mask {tmp}/full.npy", "whole clip"),
        ("decoder decode {clip} --out {tmp}/out.gif --mask {tmp}/shape.npy", "shape"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, tmp_path, cup_clip, line, says):
    np.save(tmp_path / "full.npy", np.ones((8, 7, 7), bool))
    np.save(tmp_path / "shape.npy", np.ones((2, 2), bool))
    code, _, stderr = run(*line.format(tmp=tmp_path, clip=cup_clip).split())
    assert code == 2
    (said,) = [row for row in stderr.splitlines() if row.startswith("error: ")]
    assert says in said
    assert "Traceback" not in stderr


def test_an_unknown_flag_is_exit_code_2(run):
    assert run("vjepa", "pretrain", "--colour", "blue")[0] == 2


def test_decode_writes_a_clip_with_a_panel_a_sample(run, tmp_path, cup_clip):
    out = tmp_path / "out.gif"
    code, stdout, _ = run("decoder", "decode", cup_clip, "--out", out, "--seeds", 0, 1)
    assert code == 0
    assert stdout.strip() == str(out)
    assert out.stat().st_size > 10_000


def test_evaluate_prints_one_object(run):
    code, stdout, _ = run("decoder", "evaluate", "--n", 8, "--levels", 0, "--json")
    table = json.loads(stdout.splitlines()[-1])
    assert code == 0
    assert table["clips"] == 8
    assert {"target", "predicted", "shuffled", "null", "trivial"} <= table["psnr"].keys()
    low, high = table["predicted_minus_shuffled"]["ci95"]
    assert low <= table["predicted_minus_shuffled"]["mean"] <= high


def test_similarity_and_surprise_compare_the_model_with_baselines(run):
    code, out, _ = run("vjepa", "similarity", "--clips", 6, "--json")
    scores = json.loads(out.splitlines()[-1])
    assert code == 0
    assert {"still", "model", "random", "pixels"} <= scores["jaccard"].keys()
    assert scores["jaccard"]["model"]["mean"] > scores["jaccard"]["still"]["mean"]

    code, out, _ = run("vjepa", "surprise", "--scenes", 2, "--json")
    cases = json.loads(out.splitlines()[-1])
    assert code == 0
    assert len({(case["kind"], case["hidden"]) for case in cases}) == 6
    plain = [case for case in cases if not case["hidden"]]
    assert all(case["pixels"]["sets"]["mean"] == 1 for case in plain)


def kept(run, line, tmp_path, *files):
    """Runs a line that must refuse, and leave these files as they are."""
    before = [file.read_bytes() for file in files]
    code, _, stderr = run(*line.format(tmp=tmp_path).split())
    assert code == 2 and "would be lost" in stderr
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("command", ["decode", "retrieve"])
@pytest.mark.parametrize("out", ["a.mp4", "sub/../a.mp4", "soft.mp4", "hard.mp4"])
def test_a_clip_is_not_written_over_itself(run, tmp_path, cup_clip, command, out):
    clip = tmp_path / "a.mp4"
    shutil.copy(cup_clip, clip)
    (tmp_path / "sub").mkdir()
    (tmp_path / "soft.mp4").symlink_to("a.mp4")
    (tmp_path / "hard.mp4").hardlink_to(clip)
    kept(run, f"decoder {command} {{tmp}}/a.mp4 --out {{tmp}}/{out}", tmp_path, clip)


def test_what_is_retrieved_from_is_kept(run, tmp_path, cup_clip):
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(cup_clip, tmp_path / name)
    line = "decoder retrieve {tmp}/a.mp4 --videos {tmp} --out {tmp}/b.mp4"
    kept(run, line, tmp_path, tmp_path / "b.mp4")


def test_stored_clips_lists_and_their_videos_are_kept(run, tmp_path, cup_clip):
    clips, video, listed = (tmp_path / name for name in ("clips.npy", "a.mp4", "list.csv"))
    np.save(clips, np.zeros((2, 16, 112, 112, 3), np.uint8))
    shutil.copy(cup_clip, video)
    listed.write_text("a.mp4 0\n")
    for data, out in (
        ("{tmp}/clips.npy", "clips.npy"),
        ("8*world+{tmp}/clips.npy", "clips.npy"),
        ("{tmp}/list.csv", "list.csv"),
        ("{tmp}/list.csv", "a.mp4"),
        ("{tmp}", "a.mp4"),
    ):
        for command in ("vjepa store --clips 2", "vjepa pretrain", "decoder train"):
            line = f"{command} --data {data} --out {{tmp}}/{out}"
            kept(run, line, tmp_path, clips, video, listed)


def test_models_and_decoders_are_kept(run, tmp_path):
    shutil.copytree(ASSETS / "demo", tmp_path / "demo")
    files = [file for file in (tmp_path / "demo").rglob("*") if file.is_file()]
    for out in ("card.json", "model/config.json", "decoder/model_index.json"):
        line = f"decoder evaluate --n 2 --model {{tmp}}/demo --out {{tmp}}/demo/{out}"
        kept(run, line, tmp_path, *files)
    line = "decoder evaluate --n 2 --out {tmp}/x.json --decoder {tmp}/demo/decoder"
    kept(run, line.replace("x.json", "demo/decoder/network/config.json"), tmp_path, *files)
    line = "decoder train --begin-with {tmp}/demo/decoder --out {tmp}/demo"
    kept(run, line, tmp_path, *files)


def test_an_earlier_result_may_be_written_over(run, tmp_path):
    out = tmp_path / "clips.npy"
    for seed in (0, 1):
        assert run("vjepa", "store", "--out", out, "--clips", 2, "--seed", seed)[0] == 0
