"""A model whose predictor has more blocks, and predicts the same: `python benchmarks/deepen.py`.

Every block that is added is a copy of the one before it, but for the last layers of its attention
and of its MLP, which are zero: it adds nothing until it has learned to. `python -m vjepa pretrain
--from OUT --recipe predictor` goes on from there. The bundled predictor grew so from six blocks to
eight (assets/demo/README.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import vjepa
from vjepa import checkpoint
from vjepa.model import VJEPA

BLOCKS = "predictor.blocks."
LAST_LAYERS = ("attn.proj", "mlp.fc2")


def deepen(model: VJEPA, after: Sequence[int]) -> VJEPA:
    """The same model with a block more after each of some of its predictor's.

    Args:
        model: stays as it is.
        after: numbers of the blocks, counted from 1.
    """
    depth = model.config.predictor_depth
    copied = sorted([*range(depth), *(number - 1 for number in after)])
    deeper = type(model)(replace(model.config, predictor_depth=len(copied)))
    old, new = model.state_dict(), {}
    for name in deeper.state_dict():
        if not name.startswith(BLOCKS):
            new[name] = old[name]
            continue
        place, layer = name.removeprefix(BLOCKS).split(".", 1)
        source = old[f"{BLOCKS}{copied[int(place)]}.{layer}"]
        adds_nothing = _is_copy(copied, int(place)) and layer.startswith(LAST_LAYERS)
        new[name] = torch.zeros_like(source) if adds_nothing else source
    deeper.load_state_dict(new)
    return deeper


def _is_copy(copied: Sequence[int], place: int) -> bool:
    return place > 0 and copied[place] == copied[place - 1]


def main() -> None:
    """Opens, deepens, and writes a model's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo", help="a name or a path")
    parser.add_argument("--after", type=int, nargs="+", default=[2, 4], help="blocks, from 1")
    parser.add_argument("--out", type=Path, default=Path("runs/deeper"))
    options = parser.parse_args()
    model = vjepa.load(options.model, dtype=torch.float32)
    checkpoint.save(deepen(model, options.after), options.out)
    print(options.out)


if __name__ == "__main__":
    main()
