"""Scores mean what they say, and labels are of the clip that they come with."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from torch import Generator

from vjepa.analysis.features import middle_box
from vjepa.analysis.tasks import WORLD_TASKS, Classification, Location
from vjepa.errors import InputError
from vjepa.world.world import World

BOX = np.array([[0.2, 0.2, 0.6, 0.6]])


@pytest.mark.parametrize(
    ("answer", "iou"),
    [
        ([0.2, 0.2, 0.6, 0.6], 1),
        ([0.4, 0.2, 0.8, 0.6], 1 / 3),  # half of each
        ([0.3, 0.3, 0.5, 0.5], 1 / 4),  # within
        ([0.7, 0.7, 0.9, 0.9], 0),
        ([0.6, 0.6, 0.2, 0.2], 0),  # no box: its sides are swapped
        ([0.4, 0.4, 0.4, 0.4], 0),
    ],
)
def test_a_box_scores_its_overlap(answer, iou):
    assert Location().score(np.array([answer]), BOX)[0] == pytest.approx(iou)


def test_the_median_box_is_chance():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.5, (200, 2))
    boxes = np.hstack([low, low + rng.uniform(0.2, 0.5, (200, 2))])
    chance = Location().chance(boxes[:100], boxes[100:])
    guesses = np.broadcast_to(np.median(boxes[:100], axis=0), (100, 4))
    assert chance == pytest.approx(Location().score(guesses, boxes[100:]).mean())
    assert chance > Location().score(boxes[:100], boxes[100:]).mean()  # than of other clips' boxes


def test_the_box_is_around_the_actor_in_the_middle_frame():
    batch = World(1, 112, 16).sample(24, Generator().manual_seed(0))
    drawn = batch.actor[:, 8].numpy()
    around = [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in map(np.nonzero, drawn)]
    boxes = middle_box(batch, 112).numpy()
    assert boxes.min() >= 0 and boxes.max() <= 1
    assert Location().score(boxes, np.array(around) / 112).min() > 0.75


def test_a_class_that_was_never_shown_gets_no_probability():
    task = Classification("fruit", ("apple", "fig", "pear"))
    votes = KNeighborsClassifier(1).fit(np.eye(2), [0, 2])
    np.testing.assert_allclose(task.predict(votes, np.eye(2)), np.eye(3)[[0, 2]])


def test_one_class_is_nothing_to_tell_apart():
    with pytest.raises(InputError, match="all of one class"):
        WORLD_TASKS["motion"].check(np.full(20, 3))
