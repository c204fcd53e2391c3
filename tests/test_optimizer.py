"""Muon turns the blocks' matrices in all directions alike, and leaves the rest to AdamW."""

import pytest
import torch
from tiny import TINY

from vjepa import training
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.recipes import PretrainConfig
from vjepa.training import FALLBACK, OPTIMIZERS, muon

LR = 0.01


def stepped(model, optimizer):
    """What one step adds to each parameter, with gradients of one dominant direction."""
    generator = torch.Generator().manual_seed(0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        if p.requires_grad:
            p.grad = 0.05 * torch.randn(p.shape, generator=generator) + 1.0
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def test_updates_of_the_blocks_matrices_are_orthogonal():
    model = VJEPA(TINY)
    added = stepped(model, muon(model, LR, 0.0))
    matrices = [m for name, m in added.items() if "blocks" in name and m.ndim == 2 and m.any()]
    assert len(matrices) == 4 * (TINY.depth + TINY.predictor_depth)
    for matrix in matrices:
        values = torch.linalg.svdvals(matrix)
        assert values.median() > 0.8 * values.max()  # of the gradient: .01
        rms = matrix.pow(2).mean().sqrt().item()
        assert rms == pytest.approx(0.2 * LR, rel=0.3)  # on AdamW's scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonalises_in_what_the_machine_computes_in(dtype, monkeypatch):
    used = set()

    def spy(*args, **options):
        result = orthogonalize(*args, **options)
        used.add(result.dtype)
        return result

    orthogonalize = training.ORTHOGONALIZE
    monkeypatch.setattr(training, "ORTHOGONALIZE", spy)
    monkeypatch.setattr(training, "default_dtype", lambda device: dtype)
    model = VJEPA(TINY)
    stepped(model, muon(model, LR, 0.0))
    assert used == {dtype}


def test_the_rest_moves_as_with_adamw():
    model = VJEPA(TINY)
    added = stepped(model, muon(model, LR, 0.0))
    for name in ("encoder.patch_embed.weight", "encoder.norm.weight", "predictor.proj.weight"):
        torch.testing.assert_close(
            added[name], torch.full_like(added[name], -FALLBACK * LR), rtol=1e-2, atol=1e-6
        )
    assert not any(move.any() for name, move in added.items() if "target_encoder" in name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_one_dimensional_is_not_decayed(name):
    model = VJEPA(TINY)
    groups = OPTIMIZERS[name](model, LR, 0.1).param_groups
    parameters = [(p, group["weight_decay"]) for group in groups for p in group["params"]]
    assert len(parameters) == len({id(p) for p, _ in parameters})
    assert {id(p) for p, _ in parameters} == {id(p) for p in model.parameters() if p.requires_grad}
    for p, decay in parameters:
        if p.ndim == 2 or p.ndim <= 1:
            assert decay == (0.1 if p.ndim == 2 else 0.0)


def test_an_unknown_optimizer_is_told_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="choose muon or adamw"):
        PretrainConfig(out=tmp_path, optimizer="sgd")
