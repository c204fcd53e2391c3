"""What a probe is asked about a clip, and how its answer is scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int64
from sklearn.base import BaseEstimator
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import Tensor

from vjepa.analysis.linear import LogisticProbe, RidgeProbe
from vjepa.errors import InputError
from vjepa.world.physics import EVENT_NAMES, SHAPE_NAMES
from vjepa.world.world import CATEGORIES, MOTIONS

NEIGHBOURS = {"metric": "cosine", "weights": "distance"}
BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Classification:
    """Which class a clip is of; the score of an answer is 1 for the right class, else 0.

    Attributes:
        name: of the task, and of the labels it reads.
        classes: the possible answers.
    """

    name: str
    classes: tuple[str, ...]
    metric = "accuracy"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what a probe puts out: a logit a class."""
        return self.classes

    def check(self, labels: Int64[np.ndarray, " n"]) -> None:
        """Raises InputError when there is nothing to tell apart."""
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"The {len(labels)} training clips for {self.name!r} are all of one class: "
                "a probe needs at least two."
            )

    def first_answer(self, labels: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " K"]:
        """Outputs that a probe starts from: no class is likelier than another."""
        return np.zeros(len(self.classes))

    def loss(
        self, outputs: Float[Tensor, "B K"], labels: Int64[Tensor, " B"], smoothing: float
    ) -> Float[Tensor, ""]:
        """Cross-entropy, with labels smoothed."""
        return F.cross_entropy(outputs, labels, label_smoothing=smoothing)

    def answer(self, outputs: Float[Tensor, "*shape K"]) -> Float[Tensor, "*shape K"]:
        """Class probabilities."""
        return outputs.softmax(-1)

    def score(
        self, answers: Float[np.ndarray, "n K"], labels: Int64[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """1 where the likeliest class is the right one."""
        return (answers.argmax(-1) == labels).astype(float)

    def chance(self, train: Int64[np.ndarray, " n"], test: Int64[np.ndarray, " m"]) -> float:
        """Accuracy of guessing."""
        return 1 / len(self.classes)

    def linear(self) -> BaseEstimator:
        """Logistic regression."""
        return LogisticProbe(C=0.1, max_iter=1000)

    def knn(self, neighbours: int) -> BaseEstimator:
        """Votes of the nearest training clips."""
        return KNeighborsClassifier(neighbours, **NEIGHBOURS)

    def predict(
        self, estimator: BaseEstimator, inputs: Float[np.ndarray, "n F"]
    ) -> Float[np.ndarray, "n K"]:
        """Class probabilities of a fitted estimator; 0 for a class that it was never shown."""
        answers = np.zeros((len(inputs), len(self.classes)))
        answers[:, estimator.classes_] = estimator.predict_proba(inputs)
        return answers


@dataclass(frozen=True)
class Location:
    """Where the actor is in the middle frame; the score is intersection over union of the boxes.

    Boxes are left, top, right, bottom in frame sides, 0..1: the whole actor, also what is hidden
    of it, within the frame.
    """

    name = "location"
    outputs = BOX
    metric = "IoU"

    def check(self, boxes: Float[np.ndarray, "n 4"]) -> None:
        """Boxes are always something to tell apart."""

    def first_answer(self, boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " 4"]:
        """Outputs that a probe starts from: the best constant box."""
        return np.median(boxes, axis=0).astype(float)

    def loss(
        self, outputs: Float[Tensor, "B 4"], boxes: Float[Tensor, "B 4"], smoothing: float
    ) -> Float[Tensor, ""]:
        """Mean distance of the sides; there is no label to smooth."""
        return F.l1_loss(outputs, boxes)

    def answer(self, outputs: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
        """The box itself."""
        return outputs

    def score(
        self, answers: Float[np.ndarray, "n 4"], boxes: Float[np.ndarray, "n 4"]
    ) -> Float[np.ndarray, " n"]:
        """Intersection over union, 0..1; 0 for an answer that is no box."""
        answers, boxes = answers.astype(float), boxes.astype(float)
        low, high = np.maximum(answers, boxes)[:, :2], np.minimum(answers, boxes)[:, 2:]
        shared = (high - low).clip(0).prod(1)
        area, true_area = ((box[:, 2:] - box[:, :2]).clip(0).prod(1) for box in (answers, boxes))
        return shared / np.maximum(area + true_area - shared, 1e-9)

    def chance(self, train: Float[np.ndarray, "n 4"], test: Float[np.ndarray, "m 4"]) -> float:
        """Score of the best constant box, the median of the training boxes."""
        constant = np.broadcast_to(self.first_answer(train), test.shape)
        return float(self.score(constant, test).mean())

    def linear(self) -> BaseEstimator:
        """Ridge regression; leave-one-out chooses its strength."""
        return RidgeProbe(tuple(np.logspace(0, 5, 11)))

    def knn(self, neighbours: int) -> BaseEstimator:
        """Mean box of the nearest training clips."""
        return KNeighborsRegressor(neighbours, **NEIGHBOURS)

    def predict(
        self, estimator: BaseEstimator, inputs: Float[np.ndarray, "n F"]
    ) -> Float[np.ndarray, "n 4"]:
        """Boxes of a fitted estimator."""
        return estimator.predict(inputs)


Task = Classification | Location

WORLD_TASKS: dict[str, Task] = {
    "appearance": Classification("appearance", CATEGORIES),
    "motion": Classification("motion", MOTIONS),
    "location": Location(),
}
"""What is asked of the drawn world's clips, by name."""
PHYSICS_TASKS: dict[str, Task] = {
    "event": Classification("event", EVENT_NAMES),
    "shape": Classification("shape", SHAPE_NAMES),
}
"""What is asked of the physics world's."""
