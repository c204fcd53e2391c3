"""Masks by name, for the buttons under the painter; `vjepa.masks` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from app.session import State


@dataclass(frozen=True)
class Preset:
    """A button.

    Attributes:
        label: on the button.
        help: what a student should know about this mask.
    """

    label: str
    help: str


PRESETS = {
    "short": Preset(
        "short",
        "**Short-range mask**, as in V-JEPA's training: 8 blocks of 15 % of the frame, through all "
        "time. Click again for another draw.",
    ),
    "long": Preset(
        "long",
        "**Long-range mask**, as in V-JEPA's training: 2 blocks of 70 % of the frame, through all "
        "time. Little is left to go by.",
    ),
    "tube": Preset(
        "tube",
        "**Tubes**: half of the patches, each hidden through all time, so that nothing can be "
        "copied from another moment.",
    ),
    "box": Preset("box", "**Box**: the middle of the frame, through all time."),
    "future": Preset(
        "future",
        "**Hide the future**: the model sees the first half of the clip and predicts the rest.",
    ),
    "random": Preset(
        "random",
        "**Random tokens**: half of all, scattered in space and time. Easy: a neighbour is nearly "
        "always visible.",
    ),
}


def use(name: str, state: State) -> None:
    """Puts the named mask on the clip; random ones are drawn anew each time."""
    import torch

    from vjepa import masks

    state.draws += 1
    generator = torch.Generator().manual_seed(state.draws)
    state.send_mask(masks.make(name, state.mask.shape, generator).numpy())
