"""Trained probes: each learns as if alone, and attention finds what an average drowns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vjepa.analysis.features import Tokens
from vjepa.analysis.fit import TRAINED, Recipe, ask, fit, read_together
from vjepa.analysis.tasks import Classification, Location

COUNT, DIM, CLASSES = 40, 16, 4
NEEDLE = Classification("needle", tuple("abcd"))
SHORT = Recipe(steps=300, batch_size=32, warmup=10)


def haystacks(n, seed, views=1):
    """Tokens of noise; one of them, anywhere, tells the class, and nothing else does."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(n, views, COUNT, DIM))
    labels, place = rng.integers(CLASSES, size=n), rng.integers(COUNT, size=n)
    told = np.zeros((n, 1, DIM))
    told[:, :, CLASSES:] = np.resize([4, -4], DIM - CLASSES)  # how to know it
    told[np.arange(n), 0, labels] = 8
    tokens[np.arange(n), :, place] = told
    layout = [("needle", "i8"), ("location", "f4", 4), ("tokens", "f2", tokens.shape[1:])]
    records = np.zeros(n, layout)
    records["needle"] = labels
    records["location"] = [0.1, 0.2, 0.5, 0.9]
    records["tokens"] = F.layer_norm(torch.from_numpy(tokens), (DIM,))
    return Tokens(records, np.arange(n)), place


def right(probes, test):
    return {
        kind: task.score(answer.mean(1), test.label(task.name)).mean()
        for (task, kind), answer in ask(probes, test).items()
    }


def test_attention_finds_what_an_average_drowns():
    train, _ = haystacks(600, seed=0)
    test, place = haystacks(100, seed=1)
    probes = fit([(NEEDLE, "attentive"), (NEEDLE, "average")], train, seed=0, recipe=SHORT)
    scores = right(probes, test)
    assert scores["attentive"] > 0.95
    assert scores["average"] < 0.7
    attention = probes[NEEDLE, "attentive"].attention(test.read(np.arange(100))[:, 0])
    assert (attention.mean(1).argmax(-1).numpy() == place).mean() > 0.95


def pairs_of_needles(n, seed):
    """Two tokens of noise begin with a mark; whether these are alike is the class."""
    rng = np.random.default_rng(seed)
    tokens, alike = rng.normal(size=(n, 1, COUNT, DIM)), rng.integers(2, size=n)
    for row, same in enumerate(alike):
        places = rng.choice(COUNT, 2, replace=False)
        marks = rng.integers(2, size=2) if not same else np.repeat(rng.integers(2), 2)
        marks[1] = marks[0] if same else 1 - marks[0]
        tokens[row, 0, places] = 0
        tokens[row, 0, places, marks] = 8
    records = np.zeros(n, [("needle", "i8"), ("tokens", "f2", tokens.shape[1:])])
    records["needle"], records["tokens"] = alike, F.layer_norm(torch.from_numpy(tokens), (DIM,))
    return Tokens(records, np.arange(n))


def test_only_a_deep_probe_compares_tokens_that_heads_find_alike():
    """A query gathers each mark by itself; whether two are alike asks for the one by the other."""
    train, test = pairs_of_needles(1500, seed=0), pairs_of_needles(200, seed=1)
    recipe = Recipe(steps=400, batch_size=64, warmup=20, weight_decay=0.1)
    scores = right(
        fit([(NEEDLE, "deep"), (NEEDLE, "attentive")], train, seed=0, recipe=recipe), test
    )
    assert scores["deep"] > 0.9 and scores["attentive"] < 0.75


def test_answers_to_all_views_come_back():
    train, _ = haystacks(300, seed=0, views=2)
    probes = fit([(NEEDLE, "attentive")], train, seed=0, recipe=SHORT)
    (answers,) = ask(probes, train, batch_size=7).values()
    assert answers.shape == (300, 2, CLASSES)
    seen = train.read(np.arange(300))
    for view in range(2):
        expected = probes[NEEDLE, "attentive"](seen[:, view]).softmax(-1)
        np.testing.assert_allclose(answers[:, view], expected.numpy(), atol=1e-3)


def test_probes_that_learn_together_learn_as_if_alone():
    train, _ = haystacks(60, seed=0)
    pairs = [(task, kind) for task in (NEEDLE, Location()) for kind in TRAINED]
    recipe = Recipe(steps=12, batch_size=16, warmup=2)
    together = fit(pairs, train, seed=0, recipe=recipe)
    for pair in pairs:
        alone = fit([pair], train, seed=0, recipe=recipe)[pair].state_dict()
        for name, tensor in together[pair].state_dict().items():
            torch.testing.assert_close(tensor, alone[name], atol=1e-4, rtol=1e-3, msg=f"{name}")


def test_what_is_read_together_is_what_each_reads():
    train, _ = haystacks(40, seed=0)
    pairs = [(NEEDLE, "deep"), (NEEDLE, "attentive"), (Location(), "attentive")]
    pairs.append((NEEDLE, "average"))
    fitted = fit(pairs, train, seed=0, recipe=Recipe(steps=2, warmup=1))
    assert list(fitted) == pairs
    *probes, average = fitted.values()
    tokens = train.read(np.arange(40))[:, 0]
    *outputs, averaged = read_together([*probes, average], tokens)
    for probe, output in zip(probes, outputs, strict=True):
        torch.testing.assert_close(probe(tokens), output, atol=2e-2, rtol=2e-2)
    expected = average.linear(average.norm(tokens.mean(1)))
    torch.testing.assert_close(expected, averaged, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", TRAINED)
def test_a_seed_is_a_probe(kind):
    train, _ = haystacks(40, seed=0)
    recipe = Recipe(steps=3, warmup=1)
    weights = [
        fit([(NEEDLE, kind)], train, seed=seed, recipe=recipe)[NEEDLE, kind].linear.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
