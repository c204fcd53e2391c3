"""Makes the answer that ships with the app: `python -m app.make_first_view`.

Run it again whenever the demo model changes; a test compares the two.
"""

from __future__ import annotations

import torch

from app import answers, session
from app.sources import Source, load_clip
from vjepa import masks


def main() -> None:
    """Asks the model about the default clip and writes the answer to `assets/first_view`."""
    clip = load_clip(Source(), session.config())
    question = answers.ask(
        clip, first_mask().numpy(), tuple(range(session.SEEDS)), session.DEFAULT_STEPS
    )
    answers.save(session.ModelRoom().answer(question, clip), session.FIRST_VIEW)


def first_mask() -> torch.Tensor:
    """A block over the middle of the frame, through all time."""
    t, h, w = session.config().grid
    return masks.box((t, h, w), (0, t), (h // 3, h - h // 3), (w // 3, w - w // 3))


if __name__ == "__main__":
    main()
