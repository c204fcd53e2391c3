"""Opening checkpoints in tests, and being refused in one sentence."""

import pytest
import torch

import vjepa
from vjepa.errors import InputError

TOLERANCE = {"atol": 1e-4, "rtol": 0}


def load(path):
    return vjepa.load(path, device="cpu", dtype=torch.float32)


def refused(path):
    with pytest.raises(InputError) as caught:
        load(path)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 600
    return said


def same(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
