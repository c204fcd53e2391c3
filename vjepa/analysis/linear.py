"""Linear probes on pooled features, in torch: on the GPU where there is one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from torch import Tensor

from vjepa.checkpoint import default_device


def _tensor(values: np.ndarray) -> Tensor:
    """In float64 on the device; Apple's has float32 only."""
    device = default_device()
    return torch.as_tensor(
        values, dtype=torch.float32 if device.type == "mps" else torch.float64
    ).to(device)


class LogisticProbe(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression with an L2 penalty, as scikit-learn's.

    Args:
        C: inverse strength of the penalty.
        max_iter: steps of L-BFGS.
    """

    def __init__(self, C: float = 0.1, max_iter: int = 1000) -> None:
        self.C, self.max_iter = C, max_iter

    def fit(
        self, inputs: Float[np.ndarray, "n F"], labels: Int64[np.ndarray, " n"]
    ) -> LogisticProbe:
        """Finds the weights of the classes that there are."""
        self.classes_, places = np.unique(labels, return_inverse=True)
        x, y, count = _tensor(inputs), torch.as_tensor(places, device=default_device()), len(inputs)
        weight = x.new_zeros(len(self.classes_), x.shape[1], requires_grad=True)
        bias = x.new_zeros(len(self.classes_), requires_grad=True)
        # two classes have one weight vector elsewhere: halves of it, opposed, cost half as much
        penalty = (1.0 if len(self.classes_) == 2 else 0.5) / (self.C * count)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=self.max_iter,
            tolerance_grad=1e-6,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            found = F.cross_entropy(x @ weight.T + bias, y) + penalty * weight.square().sum()
            found.backward()
            return found

        optimizer.step(loss)
        self.weight_, self.bias_ = weight.detach(), bias.detach()
        return self

    def predict_proba(self, inputs: Float[np.ndarray, "n F"]) -> Float[np.ndarray, "n K"]:
        """Probabilities of `classes_`."""
        return (_tensor(inputs) @ self.weight_.T + self.bias_).softmax(-1).cpu().numpy()

    def predict(self, inputs: Float[np.ndarray, "n F"]) -> Int64[np.ndarray, " n"]:
        """The likeliest class."""
        return self.classes_[self.predict_proba(inputs).argmax(1)]


class RidgeProbe(RegressorMixin, BaseEstimator):
    """Ridge regression whose strength leave-one-out chooses, as scikit-learn's RidgeCV.

    Args:
        alphas: strengths to choose from.
    """

    def __init__(self, alphas: tuple[float, ...] = (1.0,)) -> None:
        self.alphas = alphas

    def fit(self, inputs: Float[np.ndarray, "n F"], labels: Float[np.ndarray, "n K"]) -> RidgeProbe:
        """Finds strength and weights."""
        x, y = _tensor(inputs), _tensor(labels)
        self.x_mean_, self.y_mean_ = x.mean(0), y.mean(0)
        left, singular, right = torch.linalg.svd(x - self.x_mean_, full_matrices=False)
        y = y - self.y_mean_
        errors = [self._left_out(alpha, left, singular, y) for alpha in self.alphas]
        self.alpha_ = float(self.alphas[int(np.argmin(errors))])
        shrunk = singular / (singular.square() + self.alpha_)
        self.weight_ = right.T @ (shrunk[:, None] * (left.T @ y))
        return self

    def _left_out(self, alpha: float, left: Tensor, singular: Tensor, y: Tensor) -> float:
        """The squared error of each clip by what the others say, in closed form."""
        kept = singular.square() / (singular.square() + alpha)
        guess = left @ (kept[:, None] * (left.T @ y))
        leverage = (left.square() * kept).sum(1) + 1 / len(left)
        return ((y - guess) / (1 - leverage)[:, None]).square().mean().item()

    def predict(self, inputs: Float[np.ndarray, "n F"]) -> Float[np.ndarray, "n K"]:
        """Outputs."""
        return ((_tensor(inputs) - self.x_mean_) @ self.weight_ + self.y_mean_).cpu().numpy()
