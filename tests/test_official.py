"""The published model's numbers, from a file in the exact published layout."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import vjepa
from vjepa.masks import MaskBatch
from vjepa.model import normalize_features

GOLDEN = Path(__file__).parent / "golden" / "vjepa1-a"
TOLERANCE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def model():
    return vjepa.load(GOLDEN / "checkpoint.pth.tar", device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def expected():
    return load_file(GOLDEN / "expected.safetensors")


def test_target_encoding(model, expected):
    encoded = model.encode(expected["clip"])
    torch.testing.assert_close(encoded, expected["target_full"], **TOLERANCE)
    normed = normalize_features(encoded)
    torch.testing.assert_close(normed, expected["target_layernormed"], **TOLERANCE)


def test_full_encoding_of_the_context_encoder(model, expected):
    torch.testing.assert_close(
        model.encoder(expected["clip"]), expected["encoder_full"], **TOLERANCE
    )


@pytest.mark.parametrize("kind", [0, 1])
def test_context_and_prediction(model, expected, kind):
    context_idx, target_idx = expected[f"context_idx_{kind}"], expected[f"target_idx_{kind}"]
    context = model.encode_context(expected["clip"], context_idx)
    torch.testing.assert_close(context, expected[f"context_{kind}"], **TOLERANCE)
    predictions = model.predict(context, context_idx, target_idx, ("short", "long")[kind])
    torch.testing.assert_close(predictions, expected[f"prediction_{kind}"], **TOLERANCE)


def test_loss(model, expected):
    masks = [
        MaskBatch(expected[f"context_idx_{k}"], expected[f"target_idx_{k}"], k) for k in (0, 1)
    ]
    loss = model.loss(expected["clip"], masks).mean()
    torch.testing.assert_close(loss, expected["loss"][0], **TOLERANCE)


def test_probe(expected):
    """Logits of the published probe, read from tokens, from layer-normed tokens, in any order."""
    probe = vjepa.load_probe(GOLDEN / "probe.pth.tar")
    tokens = expected["target_full"]
    for features in (tokens, normalize_features(tokens), tokens.flip(1)):
        torch.testing.assert_close(probe(features), expected["probe_logits"], **TOLERANCE)
