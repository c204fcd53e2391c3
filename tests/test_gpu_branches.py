"""What would go wrong on a GPU alone, seen without one: tensors that hold no numbers, on "cuda".

An operation between devices fails here as it would there, and so does waiting for a number. What
cannot be seen: the backward pass, kernels that CUDA lacks for a dtype, memory, speed, and whether
numbers agree.
"""

from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from tiny import FOUR_LAYERS, TINY
from torch._subclasses.fake_tensor import FakeTensorMode

from vjepa.baselines import PixelPrediction
from vjepa.batches import TrainingBatch
from vjepa.beginning import ContinuedVJEPA21
from vjepa.masks import MaskBatch
from vjepa.model import VJEPA
from vjepa.pretrain import PretrainState, train_step
from vjepa.recipes import PretrainConfig
from vjepa.vjepa2 import VJEPA21, DenseVJEPA, RotaryVJEPA

GPU = torch.device("cuda")


class NoNumbers(FakeTensorMode):
    """Tensors without numbers; they stay of one kind when a module is copied."""

    def __deepcopy__(self, memo):
        return self


class OneGPU(Accelerator):
    """An accelerator of one GPU that is not there."""

    def __init__(self, model):
        self.model = model

    device = GPU

    def autocast(self):
        return nullcontext()

    no_sync = nullcontext

    def backward(self, loss):
        """Gradients without a backward pass: torch's engine asks for the GPU itself."""
        assert loss.device.type == "cuda" and loss.requires_grad
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)

    def clip_grad_norm_(self, parameters, most):
        return torch.nn.utils.clip_grad_norm_(parameters, most)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")  # when a module is copied
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        *((kind, TINY) for kind in (VJEPA, RotaryVJEPA, DenseVJEPA, PixelPrediction)),
        (lambda shape: ContinuedVJEPA21(VJEPA21(shape)), FOUR_LAYERS),
    ],
)
def test_a_step_stays_on_the_gpu_and_waits_for_nothing(kind, shape, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, std: tensor)  # looks at it
    config = PretrainConfig(out=tmp_path, batch_size=4)
    with NoNumbers():
        with GPU:
            model = kind(shape)
        run = PretrainState(model, torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.04))
        seen, hidden = torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long)
        masks = [MaskBatch(seen, hidden, kind) for kind in ("short", "long")]
        side = shape.image_size
        frames = torch.zeros(2, shape.num_frames, side, side, 3, dtype=torch.uint8)
        batches = [TrainingBatch(frames, masks, []) for _ in range(2)]
        losses, metrics = train_step(run, model, batches, 2, config, OneGPU(model))
    assert losses.device.type == metrics["grad_norm"].device.type == "cuda"
    assert all(parameter.device.type == "cuda" for parameter in model.parameters())
    assert frames.device.type == "cpu" and run.step == 1
