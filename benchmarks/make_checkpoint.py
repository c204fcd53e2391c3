"""Writes a full-size checkpoint in the official layout, with random weights.

    python benchmarks/make_checkpoint.py vith16 /big/vith16.pth.tar

The published files are not included, and not needed to measure how a file of their size opens.
Names, shapes, precision and the entries around the weights are the official ones, those of the
optimizer too: two float32 tensors for each that is trained, half of the file. They are zeros, holes
on most disks. The file is laid out first and then filled in place, so little memory is needed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from mmap import MAP_SHARED
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch._subclasses import FakeTensorMode

from vjepa.tokens import position_table

Shapes = dict[str, tuple[int, ...]]
PREFIX = "module.backbone."


@dataclass(frozen=True)
class Layout:
    """Shape of an official checkpoint.

    Attributes:
        dim, depth: the encoder's width and number of blocks.
        grid: tokens along (t, h, w).
        mask_tokens: how many the predictor has.
        trained_tokens: those that are not zero.
        levels: None for V-JEPA; for V-JEPA 2.1, how many levels of the encoder have a norm.
        output_dim: width of a prediction; the encoder's by default.
        target: what the moving average of the encoder is called in the file.
        predictor_dim, predictor_depth: the predictor.
        tubelet, patch: frames and pixels of a tubelet.
    """

    dim: int
    depth: int
    grid: tuple[int, int, int]
    mask_tokens: int = 2
    trained_tokens: tuple[int, ...] = (0, 1)
    levels: int | None = None
    output_dim: int | None = None
    target: str = "target_encoder"
    predictor_dim: int = 384
    predictor_depth: int = 12
    tubelet: int = 2
    patch: int = 16


def _v21(dim: int, depth: int) -> Layout:
    """V-JEPA 2.1 ViT-B or ViT-L, which were distilled from ViT-G: their targets are 1664 wide."""
    return Layout(dim, depth, (32, 24, 24), 8, (0,), 4, 1664, "ema_encoder")


LAYOUTS = {
    "vitl16": Layout(1024, 24, (8, 14, 14)),
    "vith16": Layout(1280, 32, (8, 14, 14)),
    "vith16-384": Layout(1280, 32, (8, 24, 24)),
    "vjepa2_1_vit_base_384": _v21(768, 12),
    "vjepa2_1_vit_large_384": _v21(1024, 24),
}


def encoder_shapes(layout: Layout) -> Shapes:
    """The encoder's tensors, in the file's order."""
    dim, patch = layout.dim, layout.patch
    blocks = _block_shapes("blocks", layout.depth, dim)
    embed = _layer("patch_embed.proj", dim, 3, layout.tubelet, patch, patch)
    if layout.levels is None:
        position = {"pos_embed": (1, _tokens(layout), dim)}
        return position | embed | blocks | _layer("norm", dim)
    image = _layer("patch_embed_img.proj", dim, 3, 1, patch, patch)
    norms = [_layer(f"norms_block.{level}", dim) for level in range(layout.levels)]
    return _modality_shapes(dim) | embed | image | blocks | _joined(norms)


def predictor_shapes(layout: Layout) -> Shapes:
    """The predictor's tensors, in the file's order."""
    dim, out = layout.predictor_dim, layout.output_dim or layout.dim
    tokens = {f"mask_tokens.{i}": (1, 1, dim) for i in range(layout.mask_tokens)}
    embed = _layer("predictor_embed", dim, layout.dim)
    blocks = _block_shapes("predictor_blocks", layout.predictor_depth, dim)
    ends = _layer("predictor_norm", dim) | _layer("predictor_proj", out, dim)
    if layout.levels is None:
        position = {"predictor_pos_embed": (1, _tokens(layout), dim)}
        return position | embed | tokens | blocks | ends
    context = _layer("predictor_proj_context", out, dim)
    return _modality_shapes(dim) | embed | tokens | blocks | ends | context


def _tokens(layout: Layout) -> int:
    t, h, w = layout.grid
    return t * h * w


def _modality_shapes(dim: int) -> Shapes:
    return {"video_mod_embed": (1, 1, dim), "img_mod_embed": (1, 1, dim)}


def _layer(name: str, out: int, *shape: int) -> Shapes:
    return {f"{name}.weight": (out, *shape), f"{name}.bias": (out,)}


def _block_shapes(name: str, depth: int, dim: int) -> Shapes:
    layers = {
        "norm1": (dim,),
        "attn.qkv": (3 * dim, dim),
        "attn.proj": (dim, dim),
        "norm2": (dim,),
        "mlp.fc1": (4 * dim, dim),
        "mlp.fc2": (dim, 4 * dim),
    }
    return _joined(
        _layer(f"{name}.{i}.{part}", *shape) for i in range(depth) for part, shape in layers.items()
    )


def _joined(shapes) -> Shapes:
    return {name: shape for group in shapes for name, shape in group.items()}


def outline(layout: Layout, optimizer: bool) -> dict:
    """The checkpoint's dictionary with tensors that have no content yet."""
    encoder, predictor = _tensors(encoder_shapes(layout)), _tensors(predictor_shapes(layout))
    trained = [t for name, t in (encoder | predictor).items() if not name.endswith("pos_embed")]
    return {
        "encoder": encoder,
        "predictor": predictor,
        "opt": _adamw(trained if optimizer else []),
        "scaler": {
            "scale": 65536.0,
            "growth_factor": 2.0,
            "backoff_factor": 0.5,
            "growth_interval": 2000,
            "_growth_tracker": 0,
        },
        layout.target: _tensors(encoder_shapes(layout)),
        "epoch": 300,
        "loss": 0.5,
        "batch_size": 24,
        "world_size": 128,
        "lr": 1e-6,
    }


def _tensors(shapes: Shapes) -> dict[str, Tensor]:
    return {PREFIX + name: torch.empty(shape) for name, shape in shapes.items()}


def _adamw(trained: list[Tensor]) -> dict:
    """The optimizer's state: two moments for each trained tensor."""
    state = {
        i: {
            "step": torch.empty(()),
            "exp_avg": torch.empty_like(tensor),
            "exp_avg_sq": torch.empty_like(tensor),
        }
        for i, tensor in enumerate(trained)
    }
    options = {"lr": 1e-6, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.4}
    return {"state": state, "param_groups": [options | {"params": [*range(len(trained))]}]}


def fill(checkpoint: dict, layout: Layout, generator: Generator) -> None:
    """Gives every tensor of encoder, predictor and target encoder a sane content, in place."""
    for part in ("encoder", "predictor", layout.target):
        for name, tensor in checkpoint[part].items():
            _fill_tensor(tensor, name.removeprefix(PREFIX), layout, generator)


def _fill_tensor(tensor: Tensor, name: str, layout: Layout, generator: Generator) -> None:
    """Truncated normal of .02, but norms 1, biases 0, the position table, and untrained tokens."""
    kind, _, leaf = name.rpartition(".")
    if name.endswith("pos_embed"):
        tensor.copy_(position_table(layout.grid, tensor.shape[-1]))
    elif leaf == "bias" or (kind == "mask_tokens" and int(leaf) not in layout.trained_tokens):
        tensor.zero_()
    elif "norm" in kind:
        tensor.fill_(1)
    else:
        torch.nn.init.trunc_normal_(tensor, std=0.02, generator=generator)


def write(layout: Layout, path: Path, *, optimizer: bool = True, seed: int = 0) -> None:
    """Writes a checkpoint: first where everything lies, then, mapped into memory, the content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FakeTensorMode():
        checkpoint = outline(layout, optimizer)
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(checkpoint, path)
    with torch.serialization.set_default_mmap_options(MAP_SHARED), torch.no_grad():
        mapped = torch.load(path, mmap=True, weights_only=True)
        fill(mapped, layout, Generator().manual_seed(seed))


def main() -> None:
    """Writes the file and prints its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("path", type=Path)
    parser.add_argument("--no-optimizer", action="store_true", help="half the size")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(LAYOUTS[args.layout], args.path, optimizer=not args.no_optimizer, seed=args.seed)
    print(json.dumps({"path": str(args.path), "gigabytes": args.path.stat().st_size / 1e9}))


if __name__ == "__main__":
    main()
