"""The lessons: their maths, what they claim, and that each is told whole."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import vjepa
from app.learn import charts, lesson_collapse, lesson_predictor, lesson_surprise, pictures
from app.learn.page import LESSONS
from app.workbench import rooms
from app.workbench.links import SETTINGS
from app.workbench.models import DEMO
from vjepa import masks
from vjepa.analysis import collapse, hiding, median, predictor_input, spending
from vjepa.analysis.collapse import Safeguards
from vjepa.config import preset
from vjepa.data.clips import normalize
from vjepa.errors import InputError

GRID = DEMO.config.grid
PAGE = "from app import window; from app.learn.page import page; window.dress('', ''); page()"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def explorer():
    """The bundled model, loaded once for all pages of this process."""
    return rooms.model_room().open().result()


def test_a_larger_share_hides_the_same_places_and_more():
    before = torch.zeros(GRID, dtype=torch.bool)
    for share in (0.3, 0.5, 0.8, 0.95):
        found = hiding.union(GRID, share, seeded(3))
        assert found.mask.float().mean() == pytest.approx(share, abs=0.5 / 49 + 1e-6)
        assert (found.mask == found.mask[:1]).all()  # through all of time
        assert not (before & ~found.mask).any()
        assert all(rows * columns <= 0.15 * 49 for _, _, rows, columns in found.blocks)
        before = found.mask
    with pytest.raises(InputError, match="no share"):
        hiding.union(GRID, 1.5, seeded())


def test_the_paper_s_masks_hide_about_what_it_says_once_a_batch_is_cut_to_one_length():
    grid = preset("vitl16").grid
    short, long = (hiding.shares_hidden(grid, kind, 24, 20, seeded()) for kind in masks.KINDS)
    assert 0.55 < short[0] < 0.70 < short[1] < 0.85
    assert 0.75 < long[0] < 0.88 < long[1] < 0.97


def test_rows_given_to_the_predictor_are_those_that_it_joins(explorer):
    model, mask = explorer.model, masks.centre_box(GRID)
    pixels = torch.randn(1, 3, 16, 112, 112, generator=seeded())
    rows = predictor_input.rows_given(model, pixels, mask)
    flat = mask.flatten()
    context_idx, target_idx = (~flat).nonzero().T, flat.nonzero().T
    context = model.encode_context(pixels, context_idx)
    joined, order = model.predictor._join(context, context_idx, target_idx, "long")
    torch.testing.assert_close(rows[order[0]], joined[0].float())
    assert (rows[flat] == rows[flat][0]).all()  # one mask token for all


def test_targets_masked_first_know_only_the_hidden_tokens(explorer):
    model, mask = explorer.model, masks.centre_box(GRID)
    pixels = torch.randn(1, 3, 16, 112, 112, generator=seeded())
    visible = ~masks.check(mask, GRID)
    other = pixels.clone()
    from vjepa.tokens import pixel_mask

    other[:, :, pixel_mask(visible, model.config)] = 0
    early = predictor_input.targets_masked_first
    torch.testing.assert_close(early(model, pixels, mask), early(model, other, mask))
    index = mask.flatten().nonzero().T
    late, changed = (model.targets(given, index) for given in (pixels, other))
    assert not torch.equal(late, changed)


def test_the_lesson_s_leak_is_zero_and_its_control_is_not(explorer):
    page = AppTest.from_string(PAGE, default_timeout=300)
    page.query_params["lesson"] = "predictor"
    page.run()
    assert not page.exception
    (table,) = [one.value for one in page.markdown if "largest change of a target" in one.value]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| what")]
    numbers = {row[1].strip(): [float(cell.strip(" *")) for cell in row[2:4]] for row in rows}
    hidden, visible = (
        numbers[name] for name in (lesson_predictor.HIDDEN, lesson_predictor.VISIBLE)
    )
    assert hidden[0] == 0
    assert min(hidden[1], visible[0], visible[1]) > 0.01


def test_with_all_in_place_the_objective_is_the_model_s_own_loss():
    model = collapse._fresh(0)
    clips = normalize(collapse.held_out()[:4])
    found = collapse.objective(model, clips, Safeguards(), seeded())
    generator = seeded()
    hidden = masks.multiblock_batch(model.grid, 4, "short", generator=generator)
    batch = masks.MaskBatch(*masks.collate(hidden, generator=generator), "short")
    torch.testing.assert_close(found, model.loss(clips, [batch])[0])


def test_gradients_reach_the_targets_only_without_the_stop():
    for stop in (True, False):
        model = collapse._fresh(0)
        model.target_encoder.requires_grad_(not stop)
        clips = normalize(collapse.held_out()[:4])
        collapse.objective(model, clips, Safeguards(stop), seeded()).backward()
        reached = [p.grad is not None for p in model.target_encoder.parameters()]
        assert any(reached) is not stop


@pytest.mark.parametrize("seed", [0, 1])
def test_without_the_stop_gradient_features_fall_and_with_it_they_hold(seed):
    def left(*on, steps):
        first, *_, last = collapse.trained(Safeguards(*on), seed, steps)
        return last.spread / first.spread

    assert left(False, True, True, steps=40) < collapse.COLLAPSES
    assert left(True, True, True, steps=16) > collapse.HOLDS


def test_a_training_ends_when_its_time_is_over():
    checks = list(collapse.trained(Safeguards(), 0, until=0.0))
    assert [one.step for one in checks] == [0]


def test_ten_seeds_said_what_the_lesson_says():
    found = json.loads(lesson_collapse.TEN.read_text())
    ends = {tuple(one["in_place"]): one["ends"] for one in found["trainings"]}
    assert found["seeds"] == 10
    assert len(ends) == 8
    assert ends[True, True, True] == {"hold": 10}
    for on, came in ends.items():
        assert sum(came.values()) == 10
        if not on[0]:  # no stop-gradient: always
            assert came == {"collapse": 10}
    assert ends[True, False, True] == {"hold": 10}
    assert ends[True, True, False] == {"sink": 10}
    assert ends[True, False, False] == {"collapse": 10}


def test_the_median_is_best_under_l1_and_the_mean_under_squares():
    values = median.outcomes(0.2, 4.0, 0.5, seeded())
    best = median.best_guesses(values)
    guesses = np.linspace(-1, 5, 1201).astype(np.float32)
    l1, l2 = median.errors(values, guesses)
    assert guesses[l1.argmin()] == pytest.approx(best.median, abs=0.01)
    assert guesses[l2.argmin()] == pytest.approx(best.mean, abs=0.01)
    assert l1.min() == pytest.approx(best.mad, abs=1e-3)
    assert best.mean - best.median > 0.5


def test_the_encoder_s_gradient_through_the_best_predictor_is_that_of_the_mad():
    angles, noise = np.linspace(0, math.pi / 2, 7), 0.5
    found = median.slopes(angles, noise, seeded())
    np.testing.assert_allclose(found.through, found.of_mad, atol=0.01)
    deviation = np.sqrt(np.sin(angles) ** 2 + noise**2)  # of the target, given what is kept
    np.testing.assert_allclose(found.mad, math.sqrt(2 / math.pi) * deviation, atol=0.01)
    exact = math.sqrt(2 / math.pi) * np.sin(angles) * np.cos(angles) / deviation
    np.testing.assert_allclose(found.of_mad, exact, atol=0.01)
    assert np.abs(found.stale).max() == 0


def test_feature_errors_are_the_explorer_s_and_shares_count_what_is_hidden(explorer):
    frames = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), np.uint8)
    mask = masks.centre_box(GRID)
    explorer.set_clip(frames)
    rooms.model_room().shown = None
    found = spending.feature_errors(explorer.model, frames, mask)
    np.testing.assert_allclose(found, explorer.inspect(mask).error, atol=1e-5)
    assert spending.share_at(found, mask.numpy()) == pytest.approx(1)
    assert spending.share_at(found, ~mask.numpy()) == 0


def test_what_lessons_measure_is_float32_whatever_the_model_computes_in():
    """A machine that computes in bfloat16 shows the same figures: numpy knows no such numbers."""
    frames = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), np.uint8)
    mask, pixels = masks.centre_box(GRID), normalize(frames)[None]
    found = {
        dtype: [
            predictor_input.rows_given(model, pixels, mask).numpy(),
            predictor_input.targets_masked_first(model, pixels, mask).numpy(),
            spending.feature_errors(model, frames, mask),
        ]
        for dtype in (torch.float32, torch.bfloat16)
        for model in [vjepa.load("demo", device="cpu", dtype=dtype)]
    }
    for exact, rounded in zip(*found.values(), strict=True):
        assert exact.dtype == rounded.dtype == np.float32
        np.testing.assert_allclose(rounded, exact, atol=0.1 * np.nanmax(np.abs(exact)))


def test_static_is_mixed_in_where_it_is_asked_for():
    frames = np.full((4, 8, 8, 3), 100, np.uint8)
    where = np.zeros((4, 8, 8), bool)
    where[:, :4] = True
    same, half = (
        spending.with_static(frames, where, amount, np.random.default_rng(0)) for amount in (0, 0.5)
    )
    np.testing.assert_array_equal(same, frames)
    np.testing.assert_array_equal(half[:, 4:], frames[:, 4:])
    assert half[:, :4].std() > 30


def test_pictures_mark_what_they_say():
    frames = np.full((4, 32, 32, 3), 200, np.uint8)
    mask = np.zeros((2, 2, 2), bool)
    mask[:, 0, 0] = True
    striped = pictures.hatched(frames, mask)
    assert (striped[:, 16:] == 200).all() and not (striped[:, :16, :16] == 200).any()
    values = np.where(mask, 1.0, np.nan).astype(np.float32)
    warm = pictures.heat(frames, values, 1.0)
    assert (warm[:, :16, :16] == warm[0, 0, 0]).all()
    assert (warm[:, 16:] != warm[0, 0, 0]).any()


def test_a_cut_scene_differs_from_its_moment_on_alone():
    scene = lesson_surprise.cut_scene(4, 5)
    goes_on, cut, never = (scene.clips[name].frames for name in scene.clips)
    np.testing.assert_array_equal(cut[:8], goes_on[:8])
    np.testing.assert_array_equal(cut[8:], never[8:])
    assert (cut[8:] != goes_on[8:]).any()
    assert len({clip.id for clip in scene.clips.values()}) == 3
    assert scene.places.any() and not scene.places.all()


def test_features_are_pictured_below_their_clips():
    colours = np.zeros((2, 4, 4, 3), np.uint8)
    checks = [collapse.Checkup(step, 1.0, 0.9, 9.0, colours + step) for step in (0, 8, 16)]
    frames = np.full((2, 48, 48, 3), 255, np.uint8)
    picture, rows = lesson_collapse.features_over_time(checks, frames)
    assert rows == ["clip", "step 0", "step 8", "step 16"]
    side = len(picture) // 4
    assert [picture[side * i + side // 2, 5, 0] for i in range(4)] == [255, 0, 8, 16]
    assert len(charts.features_picture(picture, rows).layout.yaxis.ticktext) == 4


def test_a_training_that_ended_early_holds_no_verdict_but_a_fall():
    def told(step, spread):
        colours = np.zeros((1, 2, 2, 3), np.uint8)
        checks = [collapse.Checkup(0, 1.0, 0.8, 9.0, colours)]
        return lesson_collapse.said_of([*checks, collapse.Checkup(step, 0.5, spread, 9.0, colours)])

    assert "**hold**" in told(collapse.STEPS, 0.79) and "busy" not in told(collapse.STEPS, 0.79)
    assert "Too early" in told(80, 0.79) and "step 80 of" in told(80, 0.79)
    assert "**collapsed**" in told(80, 0.1) and "busy" in told(80, 0.1)


def test_a_few_directions_are_a_collapse_too():
    def end(spread, rank):
        colours = np.zeros((1, 2, 2, 3), np.uint8)
        first = collapse.Checkup(0, 1.0, 0.8, 40.0, colours)
        return collapse.verdict([first, collapse.Checkup(240, 0.5, spread, rank, colours)])

    assert [end(spread, 15.0) for spread in (0.8, 0.6, 0.3)] == ["hold", "sink", "collapse"]
    assert [end(spread, 3.0) for spread in (0.8, 0.6)] == ["collapse", "collapse"]


def test_every_setting_of_a_lesson_can_be_in_a_link():
    names = {field.name for field in dataclasses.fields(Safeguards)}
    assert len(names) == len(lesson_collapse.HELPS) <= len(set(SETTINGS))
    assert set(lesson_collapse.HELPS) < set(SETTINGS)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_told_whole_in_under_three_minutes(name, explorer):
    page = AppTest.from_string(PAGE, default_timeout=300)
    page.query_params["lesson"] = name
    page.run()
    assert not page.exception
    assert not page.warning
    words = sum(len(text.value.split()) for text in page.markdown)
    assert 200 < words < 3 * 200  # a slow reader's 200 words a minute
    assert len(page.expander) == 1
    assert len(page.expander[0].markdown[0].value) > 200
    assert page.get("plotly_chart")
