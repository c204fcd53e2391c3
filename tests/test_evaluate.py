"""Evaluation: what is scored where, whose clip is found again, and that cases are the extremes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY

from decoder.canvas import to_tubelets
from decoder.explorer import Explorer
from decoder.network import TokenDecoder
from decoder.pipeline import make_pipeline
from decoder.scoring import cases, report
from decoder.scoring.held_out import (
    HeldOutVideos,
    HeldOutWorld,
    decode,
    encode_hidden,
    held_out,
    make_group,
    make_groups,
)
from decoder.scoring.metrics import ClipScore, Scores
from decoder.scoring.reencode import nearest_is_own, reencode
from decoder.scoring.score import score_clips, steps_since_seen
from vjepa import masks
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import pixel_mask, split

FILLS = {"mean_colour": 10.0, "temporal_copy": 12.0, "interpolation": 9.0, "inpainting": 11.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def explorer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TokenDecoder(TINY.grid, TINY.tubelet_dim, TINY.embed_dim, 32, 1, 2)
        torch.nn.init.normal_(network.pixels_out.weight, std=0.1)
        return Explorer(VJEPA(TINY), make_pipeline(network))


@pytest.fixture(scope="module")
def clips():
    return HeldOutWorld(18, (0, 2), TINY, generator())


@pytest.fixture(scope="module")
def measured(explorer, clips):
    return score_clips(explorer, clips, seed=0, steps=1)


def score(index=0, kind="box", **numbers):
    shown = {name.replace("__", "/"): value for name, value in numbers.items()}
    return ClipScore(index, kind, torch.ones(1, 1, 1, dtype=torch.bool), shown)


def test_a_clip_is_the_same_whenever_and_with_whomever_it_is_read(clips):
    together, again = clips.read([3, 17, 0]), clips.read([0])
    assert torch.equal(together.frames[2], again.frames[0])
    assert torch.equal(together.actor[2], again.actor[0])
    other = HeldOutWorld(18, (0, 2), TINY, generator(1))
    assert not torch.equal(other.read([0]).frames, again.frames)


def test_levels_are_mixed_equally_and_said_in_the_titles(clips):
    levels = [clips.title(index)[-1] for index in range(len(clips))]
    assert (levels.count("0"), levels.count("2")) == (9, 9)
    assert len(HeldOutWorld(2, (0, 1, 2), TINY, generator())) == 2


def test_videos_take_turns_and_are_seen_to_their_end(cup_clip):
    clips = HeldOutVideos([cup_clip, cup_clip.with_name("bigbuckbunny.mp4")], 6, TINY)
    assert [path.stem for path, _ in clips.places[:3]] == [
        "cup_tilt_zoom",
        "bigbuckbunny",
        "cup_tilt_zoom",
    ]
    starts = [start for path, start in clips.places if path == cup_clip]
    assert starts[0] == 0 < starts[1] < starts[2]
    first, last = clips.read([0, 4]).frames
    assert (first != last).any()


@pytest.mark.parametrize(("source", "n", "says"), [("world", 1, "2 clips"), ("moon", 4, "folder")])
def test_clips_that_cannot_be_scored_are_refused(source, n, says):
    with pytest.raises(InputError, match=says):
        held_out(source, n, TINY, (0,), generator())


def test_groups_take_every_clip_once_and_leave_none_alone(explorer):
    for n in (2, 9, 17):
        groups = list(make_groups(explorer, HeldOutWorld(n, (0,), TINY, generator()), generator()))
        assert sorted(index for group in groups for index in group.indices) == list(range(n))
        assert min(len(group.indices) for group in groups) > 1


def test_predictions_of_a_group_see_nothing_hidden(explorer, clips):
    mask = masks.make("box", TINY.grid, generator())
    batch = clips.read([0, 1])
    hidden = pixel_mask(mask, TINY)[..., None]
    other = replace(batch, frames=torch.where(hidden, 255 - batch.frames, batch.frames))
    first, second = (make_group(explorer, [0, 1], b, "box", mask) for b in (batch, other))
    assert torch.equal(first.predictions, second.predictions)
    targets = [encode_hidden(explorer, b.frames, mask) for b in (batch, other)]
    assert not torch.allclose(*targets)
    assert torch.equal(first.at([1]).predictions[0], first.predictions[1])


def test_time_since_a_place_was_seen():
    since = steps_since_seen(masks.future((5, 2, 2), keep=2))
    assert since[:, 0, 0].tolist() == [0, 0, 1, 2, 3]
    hole = torch.zeros(5, 1, 1, dtype=torch.bool)
    hole[[0, 1, 3]] = True
    assert steps_since_seen(hole).flatten().tolist() == [-1, -1, 0, 1, 0]


def test_every_hidden_pixel_is_in_one_bin_of_time(measured):
    """The mean squared errors of the bins, weighted by their sizes, are that of all of them."""
    _, scores = measured
    for one in scores:
        since = steps_since_seen(one.mask)[one.mask]
        total = 0.0
        for value in since.unique().tolist():
            name = f"since/{value}" if value > 0 else "since/never"
            share = (since == value).float().mean().item()
            total += share * 10 ** (-one.numbers[f"{name}/predicted"] / 10)
        assert -10 * np.log10(total) == pytest.approx(one.numbers["psnr/predicted"], abs=1e-3)


def test_knowledge_is_the_share_of_the_way_from_prior_to_ceiling():
    truth = np.random.default_rng(0)
    scores = Scores()
    for index in range(400):
        null, way = truth.normal(14, 2), truth.uniform(6, 10)
        known = null + 0.6 * way + truth.normal(0, 0.5)
        scores.append(score(index, psnr__target=null + way, psnr__null=null, psnr__predicted=known))
    found = scores.knowledge("psnr")
    low, high = found["ci95"]
    assert low < 0.6 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 8 / np.sqrt(400), rel=0.15)
    flat = Scores([score(psnr__target=14.0, psnr__null=14.0, psnr__predicted=15.0)])
    assert flat.knowledge("psnr") is None


def test_the_best_fill_is_chosen_once_and_not_clip_by_clip():
    numbers = {f"psnr/{name}": value for name, value in FILLS.items()}
    other = numbers | {"psnr/mean_colour": 13.0, "psnr/temporal_copy": 11.5}
    base = {f"psnr/{name}": 15.0 for name in ("target", "predicted", "shuffled", "null")}
    mask = torch.ones(1, 1, 1, dtype=torch.bool)
    scores = Scores(ClipScore(i, "box", mask, base | n) for i, n in enumerate((numbers, other)))
    table = scores.compared("psnr")
    assert table["psnr"]["trivial"] == table["psnr"]["temporal_copy"] == 11.75
    assert table["predicted_minus_trivial"]["mean"] == pytest.approx(3.25)


def test_the_own_clip_is_found_whatever_all_clips_have_in_common():
    codes = torch.randn(40, 6, 8, generator=generator())
    own = torch.arange(40)
    common = 50 * torch.randn(1, 6, 8, generator=generator(1))
    noisy = codes + 0.3 * torch.randn(40, 6, 8, generator=generator(2))
    assert nearest_is_own(noisy + common, codes + common, own).all()
    strange = torch.randn(40, 6, 8, generator=generator(3))
    assert nearest_is_own(strange, codes, own).float().mean() < 0.2


def test_a_clip_decoded_to_its_truth_is_found_again(explorer, clips, monkeypatch):
    """Retrieval is about pixels: with the true ones it finds targets, with noise it does not."""

    def truth(explorer, frames, mask, features, source, seeds, steps):
        if source == "predicted":
            return frames
        other = torch.randint(0, 256, frames.shape, dtype=torch.uint8, generator=generator())
        return torch.where(pixel_mask(mask, TINY)[..., None], other, frames)

    def targets(explorer, indices, batch, kind, mask):
        group = make_group(explorer, indices, batch, kind, mask)
        return replace(group, predictions=encode_hidden(explorer, batch.frames, mask))

    monkeypatch.setattr("decoder.scoring.reencode.decode", truth)
    monkeypatch.setattr("decoder.scoring.reencode.make_group", targets)
    found = reencode(explorer, clips, generator(), steps=1, seed=0)
    assert found["top1"]["mean"] == 1
    assert found["top1_null"]["mean"] < 0.5
    assert found["cosine"]["mean"] == pytest.approx(1, abs=1e-5)
    assert found["clips"] == found["among"] == len(clips)


def test_decoding_gives_each_clip_its_own_sample(explorer, clips):
    """A clip's sample depends on its seed alone, not on who shares its batch."""
    mask = masks.make("box", TINY.grid, generator())
    group = make_group(explorer, [0, 1, 2], clips.read([0, 1, 2]), "box", mask)
    told = (group.clips.frames, mask, group.predictions, "predicted")
    every = decode(explorer, *told, [5, 6, 7], 2)
    lone = group.at([1])
    alone = decode(explorer, lone.clips.frames, mask, lone.predictions, "predicted", [6], 2)
    idx = split(mask)[1]
    a, b = (to_tubelets(frames[None], idx, TINY) for frames in (every[1], alone[0]))
    torch.testing.assert_close(a, b, atol=2 / 127.5, rtol=0)


def test_the_table_keeps_what_others_read(measured):
    table, scores = measured
    assert table["clips"] == len(scores) == 18
    for key in ("target", "predicted", "shuffled", "null", "trivial"):
        low, high = table["psnr_ci95"][key]
        assert low <= table["psnr"][key] <= high
        assert key in table["ssim"]
    assert {"1", "4", "32"} <= set(table["psnr_by_steps"])
    assert table["reencode_among"] == 18
    assert sum(part["clips"] for part in table["by_mask"].values()) == 18
    assert table["moving_object"]["clips"] <= 18
    assert list(table["by_time_since_seen"])[-1] == "never"
    json.dumps(table)


def test_the_report_names_every_number_it_draws(measured, tmp_path):
    table, _ = measured
    text = report.as_text(table)
    for name in (*table["psnr"], *table["by_mask"], *table["by_time_since_seen"]):
        assert f"\n{name} " in text
    charts = report.write(table, tmp_path / "deep" / "table.json")
    assert f"found again among {len(measured[1])}" in charts.read_text()
    again = report.write(table, tmp_path / "again.json")
    assert again.read_bytes() == charts.read_bytes()
    assert json.loads((tmp_path / "deep" / "table.json").read_text()) == table
    assert "moving" not in report.as_text(table | {"moving_object": None})


def test_cases_stand_at_the_ends_and_in_the_middle():
    values = [3.0, 9.0, 1.0, 7.0, 5.0]
    scores = Scores(
        score(i, psnr__predicted=value, psnr__null=value - (i % 3))
        for i, value in enumerate(values)
    )
    chosen = {(case.ranking, case.place): case.score.index for case in cases.choose(scores)}
    assert [chosen["psnr", place] for place in cases.SHARES] == [2, 4, 1]
    gains = [i % 3 for i in range(5)]
    assert gains[chosen["gain", "worst"]] == 0 and gains[chosen["gain", "best"]] == 2


def test_a_case_shows_the_sample_that_was_scored(explorer, clips, measured, tmp_path):
    _, scores = measured
    entries = cases.write_cases(explorer, clips, scores, tmp_path, seed=0, steps=1)
    assert {entry["file"] for entry in entries} == {path.name for path in tmp_path.iterdir()}
    one = cases.choose(scores)[0].score
    group = make_group(explorer, [one.index], clips.read([one.index]), one.kind, one.mask)
    panels = cases.draw_case(explorer, group, seed=one.index, steps=1)
    side = TINY.image_size
    truth, sample = panels[:, :, :side], panels[:, :, 2 * (side + cases.GAP) :][:, :, :side]
    hidden = pixel_mask(one.mask, TINY).numpy()
    error = np.square(truth[hidden].astype(float) - sample[hidden]).mean()
    psnr = 20 * np.log10(255) - 10 * np.log10(error)
    assert psnr == pytest.approx(one.numbers["psnr/predicted"], abs=0.2)
    with Image.open(tmp_path / entries[0]["file"]) as picture:
        assert picture.n_frames == TINY.num_frames
        assert picture.width == panels.shape[2]
