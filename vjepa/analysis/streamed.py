"""Probes on sets of videos whose tokens fill no disk: clips pass by, and nothing of them is kept.

On one device or many (`accelerate launch`): every process decodes its own videos. What is drawn
depends on seed, epoch and video alone, so that a resumed run, more workers or more processes change
nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from timm.optim import param_groups_weight_decay
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from vjepa import checkpoint
from vjepa.analysis.attentive import AttentiveProbe, save_probe
from vjepa.analysis.fit import attentive
from vjepa.analysis.intervals import share_interval
from vjepa.analysis.tasks import Classification
from vjepa.config import ModelConfig
from vjepa.data.clips import normalize
from vjepa.data.datasets import LabelledVideos, require_classes
from vjepa.data.sources import RandomCrop
from vjepa.data.views import read_spread, readable
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.training import RunFolder, step_generator, warmup_cosine

log = logging.getLogger(__name__)

ASPECT_RATIO = (0.75, 1.35)
ATTEMPTS = 20
"""Videos, one after the other, that are tried for one clip."""


@dataclass(frozen=True)
class StreamConfig:
    """How a streamed probe is trained; the defaults are the paper's (its appendix, Kinetics-400).

    Attributes:
        out: folder of the run: metrics.jsonl, last.pt, and the probe when it is done.
        epochs: passes over the training videos.
        batch_size: videos a step, over all processes.
        lr: it begins there and falls to zero by half a cosine.
        weight_decay: of weights, not of biases and other 1-D parameters.
        depth: blocks of self-attention before the query; V-JEPA 2's probes have 3.
        clips: of a video, evenly spread; their tokens are read side by side.
        views: crops of every test clip, 1 or 3; answers to them are averaged.
        scale: least and greatest share of a frame that a training crop keeps.
        workers: processes that decode, for each of the run's own; 0: none but itself.
        seed: of first weights, order and crops.
        log_every, save_every: steps.
        resume: go on from last.pt in `out`.
        change: settings that may differ from those that a resumed run began with.
    """

    out: Path
    epochs: int = 20
    batch_size: int = 256
    lr: float = 1e-3
    weight_decay: float = 0.01
    depth: int = 0
    clips: int = 8
    views: int = 3
    scale: tuple[float, float] = (0.08, 1.0)
    workers: int = 4
    seed: int = 0
    log_every: int = 20
    save_every: int = 200
    resume: bool = False
    change: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "clips", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.depth < 0:
            raise InputError(f"depth must be 0 or more, not {self.depth}.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"scale must be two shares of a frame, the least first: {self.scale}.")

    def settings(self) -> dict:
        """All of them, as plain JSON values."""
        return json.loads(json.dumps(asdict(self), default=str))


class TrainingClips(Dataset):
    """Clips of labelled videos, cropped anew in every epoch; asked for as (epoch, video).

    Args:
        videos: with labels; of one that cannot be read the next that can takes the place.
        shape: of the model.
        config: of the run.
    """

    def __init__(self, videos: LabelledVideos, shape: ModelConfig, config: StreamConfig) -> None:
        self.videos, self.shape, self.config = videos, shape, config

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, place: tuple[int, int]) -> tuple[UInt8[Tensor, "C T H W 3"], int]:
        epoch, index = place
        for row in ((index + offset) % len(self) for offset in range(ATTEMPTS)):
            try:
                clips = self._read(self.videos.paths[row], epoch, index)
            except Exception as error:  # files are broken in ways that nobody can list
                log.warning("%s is passed over: %s", self.videos.paths[row], error)
                reason = error
                continue
            return torch.from_numpy(clips), int(self.videos.labels[row])
        raise InputError(f"Videos from {self.videos.paths[index]} on cannot be read: {reason}")

    def _read(self, path: Path, epoch: int, index: int) -> UInt8[np.ndarray, "C T H W 3"]:
        """All clips of a video by one crop of its frames, as if the camera had been elsewhere."""
        words = f"{self.config.seed} {epoch} {index}".encode()
        seed = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest()) >> 1
        dice = Generator().manual_seed(seed)
        crop = RandomCrop(self.shape.image_size, self.config.scale, ASPECT_RATIO, dice)
        return read_spread(path, self.shape, self.config.clips, crop, None)


def plan(count: int, config: StreamConfig) -> list[list[tuple[int, int]]]:
    """The (epoch, video) of every step: each epoch all videos once, but for what fills no batch.

    Raises:
        InputError: there are fewer videos than one batch takes.
    """
    if count < config.batch_size:
        raise InputError(
            f"{count} videos fill no batch of {config.batch_size}: take a smaller --batch-size."
        )
    steps = []
    for epoch in range(config.epochs):
        order = torch.randperm(count, generator=step_generator(config.seed, epoch)).tolist()
        whole = range(0, count - config.batch_size + 1, config.batch_size)
        steps += [[(epoch, i) for i in order[s : s + config.batch_size]] for s in whole]
    return steps


class ProbeLoss(nn.Module):
    """Cross-entropy of a probe's answers to tokens."""

    def __init__(self, probe: AttentiveProbe, task: Classification) -> None:
        super().__init__()
        self.probe, self.task = probe, task

    def forward(
        self, tokens: Float[Tensor, "B N D"], labels: Int64[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """The mean over clips."""
        return self.task.loss(self.probe(tokens), labels, smoothing=0.0)


def train_streamed(
    model: VJEPA, train: LabelledVideos, test: LabelledVideos, config: StreamConfig
) -> dict:
    """Trains an attentive probe on videos as they pass by, and scores it.

    Returns:
        what `score_probe` does; it is written into the run's folder too, beside the probe.

    Raises:
        InputError: videos without labels or that cannot be read, one class only, classes that only
            the test has, a batch that processes do not divide, or the folder holds a run already.
    """
    test = require_classes(train, test)
    bf16 = model.dtype == torch.bfloat16
    accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no")
    if config.batch_size % accelerator.num_processes:
        raise InputError(
            f"batch_size ({config.batch_size}) must be a multiple of the "
            f"{accelerator.num_processes} processes."
        )
    task = Classification("class", train.classes)
    generator = Generator().manual_seed(config.seed)
    probe = attentive(model.config.embed_dim, task, generator, config.depth)
    probe = probe.to(accelerator.device)
    _train(model, probe, train, config, accelerator)
    probe.eval().requires_grad_(False)
    row = score_probe(
        model, probe, test, clips=config.clips, views=config.views, accelerator=accelerator
    )
    if accelerator.is_main_process:
        save_probe(probe, config.out / "probe", config.settings())
        (config.out / "score.json").write_text(json.dumps(row, indent=1) + "\n")
    return row


def _train(
    model: VJEPA,
    probe: AttentiveProbe,
    train: LabelledVideos,
    config: StreamConfig,
    accelerator: Accelerator,
) -> None:
    steps = plan(len(train), config)
    folder = RunFolder(config.out, config.settings(), main=accelerator.is_main_process)
    optimizer = torch.optim.AdamW(
        param_groups_weight_decay(probe, config.weight_decay), lr=config.lr
    )
    state = folder.begin(resume=config.resume, change=config.change)
    done = _restore(probe, optimizer, state, str(folder.last)) if state else 0
    task = Classification("class", train.classes)
    objective, optimizer = accelerator.prepare(ProbeLoss(probe, task), optimizer)
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    loader = DataLoader(
        TrainingClips(train, model.config, config),
        batch_sampler=[step[mine] for step in steps[done:]],
        num_workers=config.workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    bar = tqdm(
        loader,
        initial=done,
        total=len(steps),
        unit="step",
        desc="probe",
        disable=not accelerator.is_main_process,
    )
    for step, (frames, labels) in enumerate(bar, done + 1):
        for group in optimizer.param_groups:
            rate = {"warmup": 0, "start": config.lr, "peak": config.lr, "end": 0.0}
            group["lr"] = warmup_cosine(step - 1, len(steps), **rate)
        loss = _step(model, objective, optimizer, (frames, labels), accelerator)
        last = step == len(steps)
        if step % config.log_every == 0 or last:
            mean = accelerator.reduce(loss, "mean").item()
            if accelerator.is_main_process:
                folder.log({"step": step, "loss": mean, "lr": group["lr"]})
        if (step % config.save_every == 0 or last) and accelerator.is_main_process:
            folder.save(
                {"probe": probe.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            )


def _step(
    model: VJEPA,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    accelerator: Accelerator,
) -> Float[Tensor, ""]:
    frames, labels = (part.to(accelerator.device, non_blocking=True) for part in batch)
    tokens = tokens_of(model, frames)
    with accelerator.autocast():
        loss = objective(tokens, labels)
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def _restore(
    probe: AttentiveProbe, optimizer: torch.optim.Optimizer, state: dict, origin: str
) -> int:
    """Takes probe and optimizer from a saved state; returns the steps that were taken."""
    checkpoint.fill(probe, state["probe"], origin)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


@torch.no_grad()
def tokens_of(model: VJEPA, frames: UInt8[Tensor, "B C T H W 3"]) -> Float[Tensor, "B N D"]:
    """Features of several clips of each video, side by side, in float32 on the model's device."""
    clips = normalize(rearrange(frames, "b c t h w rgb -> (b c) t h w rgb").to(model.device))
    features = model.target_encoder(clips).float()
    return rearrange(features, "(b c) n d -> b (c n) d", c=frames.shape[1])


@torch.no_grad()
def score_probe(
    model: VJEPA,
    probe: AttentiveProbe,
    videos: LabelledVideos,
    *,
    clips: int,
    views: int,
    accelerator: Accelerator | None = None,
) -> dict:
    """Scores a trained probe, a published one too, on labelled videos.

    Args:
        model: whose features it learned from.
        probe: `vjepa.load_probe`.
        videos: with labels; those that cannot be read are left out with a warning.
        clips: of each video, evenly spread.
        views: crops of each clip, 1 or 3, whose answers are averaged.
        accelerator: shares the videos among processes.

    Returns:
        `accuracy`, as a mean with a 95 % interval, and on how many videos.

    Raises:
        InputError: videos without labels, classes that the probe does not know, tokens of another
            width, or no video that can be read.
    """
    accelerator = accelerator or Accelerator()
    if probe.linear.in_features != model.config.embed_dim:
        raise InputError(
            f"The probe reads {probe.linear.in_features} features a token, and this model has "
            f"{model.config.embed_dim}: take the model that it was trained on."
        )
    places = outputs_of(videos, probe)
    probe = probe.to(model.device)
    mine = np.arange(len(videos))[accelerator.process_index :: accelerator.num_processes]
    part = replace(videos, paths=tuple(videos.paths[i] for i in mine), labels=videos.labels[mine])
    right = []
    for index, frames in readable(part, model.config, clips, views):
        seen = torch.from_numpy(frames).transpose(0, 1)  # (views, clips, T, H, W, 3)
        answer = probe(tokens_of(model, seen)).softmax(-1).mean(0)
        right.append(float(answer.argmax() == places[part.labels[index]]))
    scores = np.array(gather_object(right))
    about = {"task": "class", "probe": "attentive", "metric": "accuracy"}
    counts = {"videos": len(scores), "clips": clips, "views": views}
    return about | counts | {"accuracy": share_interval(scores)}


def outputs_of(videos: LabelledVideos, probe: AttentiveProbe) -> list[int]:
    """The output of a probe that stands for each class of a data set: by name, else by number.

    Raises:
        InputError: a class that the probe does not know, or no names on one side and no numbers on
            the other; videos without labels.
    """
    if not len(videos) or videos.labels.min() < 0:
        raise InputError(f"{videos.origin} has videos without labels: a score needs one of each.")
    count = probe.linear.out_features
    known = {_plain(name): i for i, name in enumerate(probe.classes)}
    known = known or {str(i): i for i in range(count)}
    if unknown := [name for name in videos.classes if _plain(name) not in known]:
        raise InputError(
            f"The probe has no output for the class {unknown[0]!r} of {videos.origin}: give the "
            "names of its outputs, one a line, in a file with --labels-file."
        )
    return [known[_plain(name)] for name in videos.classes]


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").strip()
