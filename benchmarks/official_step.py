"""A training step of ours against one of the official code's: `python benchmarks/official_step.py`.

The official step (facebookresearch/jepa at 51c59d5, app/vjepa/train.py) is restated here: tubelets
of the whole clip are embedded by a convolution, for the target encoder and once more for every
mask, and tokens dropped afterwards; mask tokens are made for all positions and taken; AdamW and the
moving average go from tensor to tensor; the spread of the predictions, norms of gradients and the
means of Adam's averages are computed at every step. Blocks are the same operations in both, so ours
stand for them. Both begin with the same weights and get the same clips and masks; the losses are
compared at every step. They take turns, on one thread, and processor time is counted: other work on
the machine is not. Prints one JSON object: for each size the median ratio of ours to the official
step, its least and greatest, the same without what the official code logs, and the largest
difference of losses.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Generator, Tensor

from vjepa.batches import TrainingBatch
from vjepa.config import ModelConfig, preset
from vjepa.masks import MaskBatch, draw_masks
from vjepa.model import VJEPA
from vjepa.pretrain import PretrainState, train_step
from vjepa.recipes import PUBLISHED, PretrainConfig
from vjepa.tokens import take
from vjepa.training import adamw
from vjepa.transformer import Encoder, Predictor

SMALL = {"num_frames": 16, "mlp_ratio": 4.0}
SIZES = {
    "ViT-Ti, 112 px, 4 clips": (
        4,
        ModelConfig(image_size=112, embed_dim=192, depth=12, num_heads=3, **SMALL),
    ),
    "ViT-S, 112 px, 2 clips": (
        2,
        ModelConfig(image_size=112, embed_dim=384, depth=12, num_heads=6, **SMALL),
    ),
}
LARGE = {"ViT-L, 224 px, 1 clip": (1, preset("vitl16"))}


class Official:
    """The official networks and their optimizer.

    Args:
        model: whose weights they begin with.
        config: of the run.
        accelerator: gives the precision.
    """

    def __init__(self, model: VJEPA, config: PretrainConfig, accelerator: Accelerator) -> None:
        self.config, self.accelerator, self.number = config, accelerator, 0
        self.encoder, self.predictor = copy.deepcopy(model.encoder), copy.deepcopy(model.predictor)
        self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        networks, groups = (self.encoder, self.predictor), []
        for flat in (False, True):
            for network in networks:
                own = [p for p in network.parameters() if (p.ndim == 1) == flat]
                groups.append({"params": own, **({"weight_decay": 0.0} if flat else {})})
        self.optimizer = torch.optim.AdamW(groups)

    def step(self, clips: Tensor, masks: list[MaskBatch]) -> tuple[float, float]:
        """One step: its loss, and the seconds that its logs took."""
        rates = self.config.schedules(self.number)
        for group in self.optimizer.param_groups:
            group["lr"] = rates["lr"]
            group["weight_decay"] = rates["weight_decay"] if group["weight_decay"] else 0.0
        with self.accelerator.autocast():
            loss = self.loss(clips, masks)
        loss.backward()
        for network in (self.encoder, self.predictor):
            torch.nn.utils.clip_grad_norm_(network.parameters(), self.config.clip_grad)
        self.optimizer.step()
        begin = time.process_time()
        self.log()
        logs = time.process_time() - begin
        self.optimizer.zero_grad()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.encoder.parameters(), strict=True):
                slow.mul_(rates["momentum"]).add_((1 - rates["momentum"]) * fast)
        self.number += 1
        return loss.item(), logs

    def loss(self, clips: Tensor, masks: list[MaskBatch]) -> Tensor:
        """The error over both masks, and the spread of the predictions at a weight of 0."""
        with torch.no_grad():
            features = encode(self.target, clips, None)
            features = F.layer_norm(features, features.shape[-1:])
            wanted = [take(features, mask.target_idx) for mask in masks]
        contexts = [encode(self.encoder, clips, mask.context_idx) for mask in masks]
        made = [
            predict(self.predictor, context, mask, place)
            for place, (context, mask) in enumerate(zip(contexts, masks, strict=True))
        ]
        error = sum(
            (ours - theirs).abs().mean() for ours, theirs in zip(made, wanted, strict=True)
        ) / len(masks)
        spread = sum((each.var(dim=1) + 1e-4).sqrt() for each in made) / len(masks)
        return error + 0.0 * F.relu(1 - spread).mean()

    def log(self) -> list[float]:
        """What the official code computes for its log at every step."""
        matrices = [
            p
            for network in (self.encoder, self.predictor)
            for p in network.parameters()
            if p.ndim > 1 and p.grad is not None
        ]
        norms = [float(torch.norm(p.grad)) for p in matrices]
        averages = [
            float(state[name].abs().mean())
            for state in self.optimizer.state.values()
            for name in ("exp_avg", "exp_avg_sq")
        ]
        return norms + averages


def encode(encoder: Encoder, clips: Tensor, idx: Tensor | None) -> Tensor:
    """All tubelets are embedded, then tokens are dropped."""
    x = encoder.patch_embed(clips).flatten(2).transpose(1, 2)
    x = x + encoder.position.table
    x = x if idx is None else take(x, idx)
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)


def predict(predictor: Predictor, context: Tensor, mask: MaskBatch, place: int) -> Tensor:
    """Mask tokens of all positions are made, and those that are hidden are taken."""
    x, table = predictor.embed(context), predictor.position.table.repeat(len(context), 1, 1)
    x = x + take(table, mask.context_idx)
    tokens = predictor.mask_tokens[place].repeat(len(context), table.shape[1], 1)
    tokens = take(tokens, mask.target_idx) + take(table, mask.target_idx)
    x = torch.cat([x, tokens], dim=1)
    for block in predictor.blocks:
        x = block(x)
    return predictor.proj(predictor.norm(x)[:, context.shape[1] :])


def compare(batch: int, shape: ModelConfig, turns: int, seed: int, precision: str) -> dict:
    """Ratios of one size; the first turn warms up."""
    generator = Generator().manual_seed(seed)
    own = {"batch_size": batch, "mask_batch": batch, "clip_after": 0, "precision": precision}
    config = PretrainConfig(out=Path("unused"), **(PUBLISHED | own))
    torch.manual_seed(seed)
    model = VJEPA(shape)
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    official = Official(model, config, accelerator)
    run = PretrainState(model, adamw(model, config.lr, max(config.weight_decay)))
    size = (batch, shape.num_frames, shape.image_size, shape.image_size, 3)
    ratios, quiet, drift = [], [], []
    for turn in range(turns + 1):
        frames = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        batch_ = TrainingBatch(frames, draw_masks(shape.grid, batch, 0, generator), [])
        clips = batch_.to_model(torch.device("cpu"))[0]
        begin = time.process_time()
        losses, _ = train_step(run, model, [batch_], 1, config, accelerator)
        ours = time.process_time() - begin
        begin = time.process_time()
        loss, logs = official.step(clips, batch_.masks)
        theirs = time.process_time() - begin
        drift.append(abs(loss - float(losses.mean())))
        if turn:
            ratios.append(ours / theirs)
            quiet.append(ours / (theirs - logs))
    return {
        "ours_to_official": [statistics.median(ratios), min(ratios), max(ratios)],
        "without_its_logs": [statistics.median(quiet), min(quiet), max(quiet)],
        "largest_difference_of_losses": max(drift),
    }


def main() -> None:
    """Compares all sizes and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="a ViT-L too: 10 GB of memory")
    parser.add_argument("--bf16", action="store_true", help="for processors that compute in it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = SIZES | (LARGE if options.large else {})
    precision = "bf16" if options.bf16 else "no"
    print(
        json.dumps(
            {
                name: compare(batch, shape, options.turns, options.seed, precision)
                for name, (batch, shape) in sizes.items()
            }
        )
    )


if __name__ == "__main__":
    main()
