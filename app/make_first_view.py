"""Makes the answer that ships with the app: `python -m app.make_first_view`.

Run it again whenever the demo model changes; a test compares the two.
"""

from __future__ import annotations

import torch

from app import answers, session
from app.models import DEMO
from app.sources import Source, load_clip
from vjepa import masks


def main() -> None:
    """Asks the model about the default clip and writes the answer to `assets/first_view`."""
    clip = load_clip(Source(), DEMO)
    question = answers.ask(
        clip, first_mask().numpy(), tuple(range(session.SEEDS)), session.DEFAULT_STEPS
    )
    answers.save(session.fresh_answer(question, clip), session.FIRST_VIEW)


def first_mask() -> torch.Tensor:
    """The frame's middle, once it was seen for a moment: what was there has to go on."""
    t, h, w = DEMO.config.grid
    return masks.box((t, h, w), (t // 4, t), (1, h - 1), (1, w - 1))


if __name__ == "__main__":
    main()
