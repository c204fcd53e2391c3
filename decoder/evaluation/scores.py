"""Numbers of many clips: each clip's own; means and differences with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from vjepa.analysis.interval import interval

CONDITIONS = ("target", "predicted", "shuffled", "null")
FILLS = ("mean_colour", "temporal_copy", "inpainting")


@dataclass(frozen=True)
class ClipScore:
    """One clip's numbers.

    Attributes:
        index: the clip's place among those scored.
        kind: name of the preset that its mask is of.
        mask: True = hidden.
        numbers: by measure, "measure/condition" where there are conditions.
    """

    index: int
    kind: str
    mask: Bool[Tensor, "t h w"]
    numbers: dict[str, float]


class Scores(list[ClipScore]):
    """The numbers of many clips. A measure that only some clips have is averaged over those."""

    def where(self, test: Callable[[ClipScore], bool]) -> Scores:
        """The clips that pass a test."""
        return Scores(filter(test, self))

    def values(self, name: str) -> Float[np.ndarray, " n"]:
        """A measure of every clip that has it, in order."""
        return np.array([one.numbers[name] for one in self if name in one.numbers], np.float64)

    def mean(self, name: str) -> float:
        """Average over clips."""
        return float(self.values(name).mean())

    def interval(self, name: str) -> dict:
        """Average over clips, with its 95 % interval."""
        return interval(self.values(name))

    def difference(self, a: str, b: str) -> dict:
        """Mean of a - b over clips, with its 95 % interval."""
        return interval(self.values(a) - self.values(b))

    def knowledge(self, measure: str) -> dict | None:
        """(B - D) / (A - D): the share of what the decoder can draw that the predictions know.

        A ratio of means, its interval by the delta method. None where A is not above D.
        """
        above = self.values(f"{measure}/predicted") - self.values(f"{measure}/null")
        ceiling = self.values(f"{measure}/target") - self.values(f"{measure}/null")
        if ceiling.mean() <= 0:
            return None
        ratio = above.mean() / ceiling.mean()
        low, high = interval((above - ratio * ceiling) / ceiling.mean())["ci95"]
        return {"mean": float(ratio), "ci95": [float(ratio + low), float(ratio + high)]}

    def best_fill(self, measure: str) -> str:
        """The trivial fill that does best on average."""
        return max(FILLS, key=lambda name: self.mean(f"{measure}/{name}"))

    def by_condition(self, measure: str) -> dict[str, float]:
        """The mean of a measure under every condition; "trivial" is the best fill's."""
        row = {name: self.mean(f"{measure}/{name}") for name in CONDITIONS + FILLS}
        return row | {"trivial": row[self.best_fill(measure)]}

    def compared(self, measure: str) -> dict:
        """A measure in decibels under every condition, and what B is above C, D and E."""
        rivals = {"shuffled": "shuffled", "null": "null", "trivial": self.best_fill(measure)}
        table = {"clips": len(self.values(f"{measure}/predicted"))}
        table["psnr"] = self.by_condition(measure)
        table["psnr_ci95"] = {
            name: self.interval(f"{measure}/{rivals.get(name, name)}")["ci95"]
            for name in (*CONDITIONS, "trivial")
        }
        for name, rival in rivals.items():
            difference = self.difference(f"{measure}/predicted", f"{measure}/{rival}")
            table[f"predicted_minus_{name}"] = difference
        known = self.knowledge(measure)
        table["knowledge"] = known["mean"] if known else None
        table["knowledge_ci95"] = known["ci95"] if known else None
        return table
