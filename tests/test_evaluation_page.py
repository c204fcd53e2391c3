"""The evaluation page: it shows the committed numbers, says what they say, and plays the cases."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest
from tiny import TINY

from app.evaluation import charts
from app.evaluation import page as evaluation
from app.workbench import figures
from decoder.explorer import Explorer
from decoder.network import TokenDecoder
from decoder.pipeline import make_pipeline
from decoder.scoring.cases import RANKINGS, write_cases
from decoder.scoring.held_out import MASK_NAMES, HeldOutWorld
from decoder.scoring.metrics import SCORED
from decoder.scoring.score import score_clips
from vjepa.model import VJEPA

ROOT = Path(__file__).parents[1]
PAGE = "from app import window; from app.evaluation.page import page; window.dress('', ''); page()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A card, with cases, of a model without any training."""
    folder = tmp_path_factory.mktemp("demo")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TokenDecoder(TINY.grid, TINY.tubelet_dim, TINY.embed_dim, 16, 1, 2)
        explorer = Explorer(VJEPA(TINY), make_pipeline(network))
    clips = HeldOutWorld(12, (0,), TINY, torch.Generator().manual_seed(0))
    table, scores = score_clips(explorer, clips, seed=0, steps=1)
    drawn = write_cases(explorer, clips, scores, folder / "cases" / "world", seed=0, steps=1)
    card = {"scores": {"world": table | {"cases": drawn}, "real": {"clips": 2}}}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def table(folder):
    return json.loads((folder / "card.json").read_text())["scores"]["world"]


@pytest.fixture
def run_page(folder, monkeypatch):
    """Runs the page on that card."""

    def run(folder=folder):
        monkeypatch.setattr(evaluation, "FOLDER", folder)
        evaluation.committed.clear()
        return AppTest.from_string(PAGE, default_timeout=120).run()

    yield run
    evaluation.committed.clear()


def test_the_page_shows_the_numbers_with_an_explanation_each(run_page, table):
    page = run_page()
    assert not page.exception
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["over nothing"] == f"{table['predicted_minus_null']['mean']:+.1f} dB"
    assert shown["sharpness"] == f"{table['sharpness']:.2f}"
    assert all(metric.help for metric in page.metric)
    compared = [table[parts] for parts in ("by_mask", "by_time_since_seen")]
    assert len(page.get("plotly_chart")) == 4 + sum(len(parts) > 1 for parts in compared)
    assert page.segmented_control(key="evaluation_clips").options == ["drawn world"]


def test_the_other_ranking_has_other_cases(run_page, table):
    page = run_page()

    def told():
        return [m.value for m in page.markdown if re.match(r"\*\*(Worst|Median|Best)", m.value)]

    first = told()
    assert first == [evaluation.told(c) for c in table["cases"] if c["ranking"] == "psnr"]
    page.segmented_control(key="case_ranking").set_value("gain").run()
    assert told() == [evaluation.told(c) for c in table["cases"] if c["ranking"] == "gain"]
    assert not page.exception


def test_a_folder_without_scores_says_how_to_make_them(run_page, tmp_path):
    page = run_page(tmp_path)
    assert not page.exception
    assert "score_demo.py" in page.info[0].value


@pytest.mark.parametrize(
    ("ci95", "said"), [((0.1, 0.4), "better"), ((-0.4, -0.1), "worse"), ((-0.1, 0.4), "no better")]
)
def test_the_verdict_calls_a_difference_one_only_if_its_interval_does(table, ci95, said):
    gap = {"mean": sum(ci95) / 2, "ci95": list(ci95)}
    sentence = evaluation.verdict(table | {"predicted_minus_trivial": gap, "moving_object": None})
    assert said in sentence
    assert "moving" not in sentence
    moving = {"predicted_minus_trivial": gap}
    assert sentence in evaluation.verdict(
        table | {"predicted_minus_trivial": gap, "moving_object": moving}
    )


def test_charts_keep_the_numbers_and_their_intervals(table):
    (bar,) = charts.conditions(table).data
    for name, mean, up, down in zip(
        charts.CONDITIONS, bar.x, bar.error_x.array, bar.error_x.arrayminus, strict=True
    ):
        assert mean == table["psnr"][name]
        assert [mean - down, mean + up] == pytest.approx(table["psnr_ci95"][name])
    bars = charts.parts(table["by_mask"], "").data
    assert [list(bar.x) for bar in bars] == [list(table["by_mask"])] * 4
    lines = charts.steps(table).data
    assert list(lines[0].y) == list(table["psnr_by_steps"].values())
    assert list(charts.spread(table).data[0].y) == table["error_by_spread"]["error"]
    assert charts.found_again(table).data[0].y[0] == table["reencode_top1"]


def test_every_condition_mask_and_ranking_is_explained():
    assert {*SCORED, "trivial"} == set(charts.CONDITIONS)
    assert set(RANKINGS) == set(evaluation.RANKINGS)
    assert all(f"*{name}*" in evaluation.MASK_HELP for name in MASK_NAMES)


def test_a_case_is_cut_into_its_panels(folder, table):
    case = table["cases"][0]
    path = folder / "cases" / "world" / case["file"]
    panels, (frames, fps) = evaluation.playing(path, tuple(case["panels"]))
    assert [panel.title for panel in panels] == case["panels"]
    assert all(panel.tip for panel in panels)
    with Image.open(path) as picture:
        assert (frames, fps) == (picture.n_frames, 8)
        picture.seek(frames - 1)
        last = np.asarray(picture.convert("RGB"))
    for place in (0, len(panels) - 1):  # the first at the left edge, the last at the right one
        shown = figures.read_sheet(panels[place].data, frames)[-1].astype(int)
        side = len(shown)
        there = last[:, :side] if place == 0 else last[:, -side:]
        assert np.abs(shown - there).mean() < 6  # WebP


def test_the_committed_cases_are_there_and_small():
    evaluation.committed.clear()
    files = {
        evaluation.FOLDER / "cases" / source / case["file"]
        for source, table in evaluation.committed().items()
        for case in table["cases"]
    }
    assert sum(file.stat().st_size for file in files) < 1.5e6


def test_the_page_needs_no_torch():
    code = "import sys; from app.evaluation import charts, page; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
