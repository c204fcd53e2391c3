"""What the paper claims and the lessons show, where no other test holds it; docs/contents.md."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import TINY

from app.learn.page import LESSONS
from decoder.network import TokenDecoder
from decoder.pipeline import make_pipeline
from vjepa import masks
from vjepa.config import SHAPES
from vjepa.masks import MaskBatch
from vjepa.model import VJEPA, normalize_features
from vjepa.pretrain import health
from vjepa.recipes import RECIPES, PretrainConfig
from vjepa.tokens import pixel_mask, split, take

ROOT = Path(__file__).parents[1]
CONTENTS = ROOT / "docs" / "contents.md"
GRID = SHAPES["vitl16"].grid


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VJEPA(replace(TINY, depth=2)).requires_grad_(False)


@pytest.fixture
def clips():
    return torch.randn(2, 3, 4, 48, 48, generator=generator(1))


@pytest.fixture
def mask():
    return masks.box(TINY.grid, (0, 2), (1, 3), (0, 2))


def test_a_token_stands_for_two_frames_of_16_by_16_pixels():
    """A clip of the published size has 1,568; a pixel that changes changes the one it lies in."""
    shape = replace(SHAPES["vitl16"], embed_dim=8, depth=1, num_heads=1)
    torch.manual_seed(0)
    encoder = VJEPA(shape).encoder
    clip = torch.zeros(1, 3, 16, 224, 224)
    tokens = [encoder.patch_embed(clip).flatten(2)]
    clip[:, :, 6:8, 32:48, 208:224] = 1.0
    tokens.append(encoder.patch_embed(clip).flatten(2))
    changed = (tokens[0] != tokens[1]).any(1)[0]
    assert tokens[0].shape[2] == shape.num_tokens == 8 * 14 * 14 == 1568
    assert changed.nonzero().flatten().tolist() == [(3 * 14 + 2) * 14 + 13]


def test_about_nine_tenths_of_a_clip_are_hidden_from_the_encoder():
    """Of a GPU's 24 clips the shortest context counts; on average over both kinds and all steps."""
    group, drawn = PretrainConfig(out=Path("x"), **RECIPES["vitl16"]).group, generator()
    assert group == 24
    hidden = {
        kind: np.mean(
            [
                1 - masks.collate(batch, generator=drawn)[0].shape[1] / batch[0].numel()
                for batch in (
                    masks.multiblock_batch(GRID, group, kind, generator=drawn) for _ in range(20)
                )
            ]
        )
        for kind in masks.KINDS
    }
    assert 0.9 < hidden["long"] < 0.96
    assert 0.82 < np.mean(list(hidden.values())) < 0.93


def test_blocks_are_as_wide_and_as_many_as_the_paper_says():
    """Where patches are so small that no side is rounded much."""
    ratios = [
        rows / columns
        for rows, columns in (masks.block_shape(999, 999, 0.15, generator(s)) for s in range(300))
    ]
    assert 0.745 < min(ratios) < 0.78 and 1.45 < max(ratios) < 1.505
    assert masks.KINDS == {"short": (8, 0.15), "long": (2, 0.7)}


def test_a_target_knows_its_surroundings(model, clips, mask):
    """The y-encoder is masked at its output: what else is hidden is in a target all the same."""
    _, target_idx = split(mask)
    one = torch.zeros(TINY.grid, dtype=torch.bool)
    one.view(-1)[target_idx[0, 0]] = True
    changed = torch.where(pixel_mask(one, TINY), clips + 1, clips)
    before, after = (model.targets(c, target_idx.expand(2, -1)) for c in (clips, changed))
    others = (after - before)[:, 1:].abs().mean(-1)
    assert (others > 1e-5).all()
    whole = model.target_features(clips)
    assert torch.equal(before, take(whole, target_idx.expand(2, -1)))


def test_the_predictor_is_told_where_and_nothing_else_of_what_is_hidden(model, clips, mask):
    """A hidden token enters as the mask token plus its position, whatever the clip."""
    with torch.no_grad():
        for token in model.predictor.mask_tokens:
            token.normal_(generator=generator())
    entered = []
    first = model.predictor.blocks[0]
    hook = first.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
    context_idx, target_idx = (idx.expand(2, -1) for idx in split(mask))
    model.predict(model.encode_context(clips, context_idx), context_idx, target_idx, "short")
    hook.remove()
    hidden = entered[0][:, context_idx.shape[1] :]
    table = model.predictor.position.table[target_idx[0]]
    expected = model.predictor.mask_tokens[0][0] + table
    torch.testing.assert_close(hidden, expected.expand(2, -1, -1))


def test_the_published_predictors_are_narrow():
    for name in ("vitl16", "vith16", "vith16-384"):
        shape = SHAPES[name]
        assert (shape.predictor_depth, shape.predictor_embed_dim) == (12, 384)
        assert shape.predictor_embed_dim < shape.embed_dim / 2


def test_a_constant_is_a_perfect_solution_and_is_seen(model, clips, mask):
    """The loss is 0, and so is the spread: one of the two warns."""
    answer = torch.randn(TINY.embed_dim, generator=generator(2))
    for encoder in (model.encoder, model.target_encoder):
        encoder.norm.weight.zero_()
        encoder.norm.bias.copy_(answer)
    model.predictor.proj.weight.zero_()
    model.predictor.proj.bias.copy_(normalize_features(answer.view(1, 1, -1)).flatten())
    indices = (idx.expand(2, -1) for idx in split(mask))
    assert model.loss(clips, [MaskBatch(*indices, "short")]).item() < 1e-6
    assert health(model, clips)["spread"] < 1e-6


def skewed_targets(count):
    """A context in four kinds, and targets with a long tail: median and mean lie apart."""
    rng = np.random.default_rng(0)
    kind = rng.integers(4, size=count)
    return kind, torch.tensor(kind + rng.exponential(2.0, count))


@pytest.mark.parametrize(("error", "best"), [(F.l1_loss, "median"), (F.mse_loss, "mean")])
def test_the_best_predictor_under_l1_is_the_conditional_median(error, best):
    kind, targets = skewed_targets(8000)
    answers = torch.zeros(4, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.Adam([answers], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        error(answers[kind], targets).backward()
        optimizer.step()
    found = answers.detach().numpy()
    truth = {
        name: np.array([getattr(np, name)(targets[kind == k].numpy()) for k in range(4)])
        for name in ("median", "mean")
    }
    other = truth["mean" if best == "median" else "median"]
    assert np.abs(found - truth[best]).max() < 0.05
    assert np.abs(found - other).min() > 0.3


def test_the_encoder_s_gradient_is_that_of_the_mean_absolute_deviation():
    """The paper's theory: through the best predictor, held fixed, the loss's gradient is MAD's."""
    rng = np.random.default_rng(1)
    a, b = torch.tensor(rng.standard_normal((2, 100_000)))
    targets = a + torch.tensor(rng.exponential(1.0, len(a)))

    def best_predictor(theta):
        slope = theta.cos()  # of a, given what the encoder keeps of it
        kept = a * theta.cos() + b * theta.sin()
        return slope, (targets - slope * kept).median()

    def loss(theta, slope, offset):
        kept = a * theta.cos() + b * theta.sin()
        return (slope * kept + offset - targets).abs().mean()

    step = 0.01
    for degrees in (20, 45, 70):
        angle = torch.tensor(np.radians(degrees))
        high, low = (loss(t, *best_predictor(t)) for t in (angle + step, angle - step))
        deviation = ((high - low) / (2 * step)).item()
        slope, offset = best_predictor(angle)
        theta = angle.clone().requires_grad_()
        (through,) = torch.autograd.grad(loss(theta, slope, offset), theta)
        assert through.item() == pytest.approx(deviation, abs=0.01)
        assert deviation > 0.1  # and descending it leads to keeping a


@pytest.fixture
def pipeline():
    torch.manual_seed(0)
    sizes = {"width": 32, "depth": 2, "num_heads": 2}
    network = TokenDecoder(TINY.grid, TINY.tubelet_dim, TINY.embed_dim, **sizes)
    torch.nn.init.normal_(network.pixels_out.weight, std=0.1)
    return make_pipeline(network)


def test_a_decoder_is_given_the_predictions_and_no_row_of_what_is_visible(
    pipeline, model, clips, mask
):
    context_idx, target_idx = split(mask)
    context = model.encode_context(clips[:1], context_idx)
    predictions = model.predict(context, context_idx, target_idx)
    entered = []
    pipeline.network.register_forward_pre_hook(lambda _, given: entered.extend(given))
    pipeline(predictions, target_idx, ["predicted"], [generator()], num_inference_steps=2)
    many = target_idx.shape[1]
    assert context_idx.shape[1] != many
    assert all(tensor.ndim == 1 or tensor.shape[1] == many for tensor in entered)
    assert any(tensor is predictions for tensor in entered)


def test_seeds_give_several_samples_of_one_prediction(pipeline, model, clips, mask):
    context_idx, target_idx = split(mask)
    predictions = model.predict(
        model.encode_context(clips[:1], context_idx), context_idx, target_idx
    )
    told = (predictions.expand(3, -1, -1), target_idx.expand(3, -1), ["predicted"] * 3)
    one, other, again = pipeline(*told, [generator(seed) for seed in (0, 1, 0)])
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_what_is_frozen_was_asked_of_every_task_with_few_labels_and_against_pixels():
    """The stored comparison has all cells that the notebook draws, beside the paper's tables."""
    rows = json.loads((ROOT / "assets/demo/probes.json").read_text())["rows"]
    asked = {(row["task"], row["labels"]) for row in rows if row["probe"] == "attentive"}
    tasks = ("appearance", "motion", "location")
    assert asked == {(task, share) for task in tasks for share in (0.05, 0.1, 0.5, 1.0)}
    assert all({"pixel", "random"} <= row["baselines"].keys() for row in rows)
    paper = json.loads((ROOT / "assets/paper.json").read_text())
    for name in ("frozen", "objective", "pooling", "labels"):
        columns = len(paper[name]["columns"])
        assert all(len(values) == columns for values in paper[name]["rows"].values())


def attentive(task):
    """The bundled model's stored rows of a task by the share of the labels, fewest first."""
    rows = json.loads((ROOT / "assets/demo/probes.json").read_text())["rows"]
    found = [row for row in rows if (row["task"], row["probe"]) == (task, "attentive")]
    return {row["labels"]: row for row in sorted(found, key=lambda row: row["labels"])}


def test_frozen_features_tell_what_is_asked_of_them_and_more_with_more_labels():
    """Each task above chance, motion and location above random weights too."""
    for task in ("appearance", "motion", "location"):
        rows = attentive(task)
        assert rows[1.0]["accuracy"]["ci95"][0] > rows[1.0]["chance"]
        if task != "appearance":
            assert rows[1.0]["above_random"]["ci95"][0] > 0
        means = [row["accuracy"]["mean"] for row in rows.values()]
        assert means == sorted(means)


def test_features_beat_pixels_in_the_paper_and_here_for_location_alone():
    """Where this fails, the words of docs/contents.md and of notebook 06 are to be read again."""
    paper = json.loads((ROOT / "assets/paper.json").read_text())
    for name, ours, theirs in (
        ("objective", "features", "pixels"),
        ("labels", "V-JEPA ViT-H", "VideoMAE ViT-H (pixels)"),
    ):
        assert np.greater(*(paper[name]["rows"][model] for model in (ours, theirs))).all()
    ahead = {
        task: attentive(task)[1.0]["above_pixel"]["ci95"][0] > 0
        for task in ("appearance", "motion", "location")
    }
    assert ahead == {"appearance": False, "motion": False, "location": True}


def test_with_few_labels_features_tell_events_better_than_pixels_and_with_all_as_well():
    """Where this fails, the words of notebook 06, the card and README are to be read again."""
    rows = json.loads((ROOT / "assets/demo/probes_physics.json").read_text())["rows"]
    above = {
        row["labels"]: row["above_pixel"]["ci95"]
        for row in rows
        if (row["task"], row["probe"]) == ("event", "attentive")
    }
    assert above.keys() == {0.05, 0.1, 0.5, 1.0}
    assert min(above[0.05][0], above[0.1][0]) > 0
    assert all(low < 0 < high for low, high in (above[0.5], above[1.0]))


def test_predicting_features_learns_to_leave_out_more_static_than_predicting_pixels():
    """Where this fails, the words of lesson 5 and of notebook 06 are to be read again."""
    twins = json.loads((ROOT / "assets/baselines/static.json").read_text())
    kept = {world["static"]: world["kept"] for world in twins["worlds"]}
    before, after = kept[0.0], kept[0.5]
    again = twins["worlds"][-1]["kept_again"]
    for shown, features, pixels in (("0.2", 0.75, 0.8), ("0.5", 0.85, 0.95)):
        for learned in (after, again):
            assert learned[shown]["model"] < features * before[shown]["model"]
            assert learned[shown]["pixel"] > pixels * before[shown]["pixel"]
            assert learned[shown]["model"] < learned[shown]["pixel"] < learned[shown]["random"]
        assert kept[0.2][shown]["model"] > 0.95 * before[shown]["model"]  # faint is not enough
    rows = [row for world in twins["worlds"] for row in world["probes"] if row["task"] == "event"]
    assert len(rows) == 12
    assert not [row for row in rows if row["above_random"]["ci95"][0] > 0]  # of no use yet


def test_from_scratch_predictions_become_right_for_their_own_clip_alone():
    """As the notebook printed it: errors on unseen clips, as shares of the best constant's."""
    path = ROOT / "notebooks" / "03_pretraining_from_scratch.ipynb"
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    said = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    lines = re.findall(r"step +(\d+): its own ([\d.]+), another clip's ([\d.]+)", said)
    own, other = (np.array([float(line[i]) for line in lines]) for i in (1, 2))
    assert len(lines) >= 4
    assert own[0] > 1 and own[-1] < 0.8 and (np.diff(own) <= 0.02).all()
    assert other[-1] > 1


def headings(path):
    """The headings of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return set(re.findall(r"^#+ (.*)$", words, re.M))


def test_the_contents_name_sections_tests_and_lessons_that_exist():
    text = CONTENTS.read_text()
    rows = re.findall(r"^\| (?!claim|---)(.+) \|$", text, re.M)
    assert len(rows) >= 12
    for row in rows:
        _, shown, held, lesson = row.split(" | ")
        for section, name in re.findall(r"\[([^\]]+)\]\(\.\./notebooks/([^)#]+)\)", shown):
            assert section in headings(ROOT / "notebooks" / name), (section, name)
        assert "../notebooks/" in shown
        tests = re.findall(r"`(test_\w+)\.(test_\w+)`", held)
        assert tests, row
        for file, name in tests:
            assert f"def {name}(" in (ROOT / "tests" / f"{file}.py").read_text(), (file, name)
        assert lesson in LESSONS
