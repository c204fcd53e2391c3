"""How much of a feature is static: what leaves it out has none, what holds the pixels has much."""

import torch

from benchmarks import static_twins
from vjepa.config import SHAPES
from vjepa.tokens import patchify


class Blind:
    """Tells scenes apart, and sees no pixel."""

    def encode(self, clips):
        return torch.randn(len(clips), 4, 8, generator=torch.Generator().manual_seed(0))

    def state_dict(self):
        return {}


class Literal(Blind):
    """Its features are the pixels."""

    def encode(self, clips):
        return patchify(clips, SHAPES["twin"])


def test_who_leaves_static_out_keeps_none_and_who_has_the_pixels_the_more_there_is(monkeypatch):
    monkeypatch.setattr(static_twins, "KEPT", 3)
    models = {"blind": Blind(), "literal": Literal()}
    none, faint, strong = (static_twins.kept(models, share) for share in (0.0, 0.2, 0.5))
    assert none["literal"] == faint["blind"] == strong["blind"] == 0
    assert 0.02 < faint["literal"] < strong["literal"] - 0.1 < 1
