"""Lesson "What a decoder may claim": the ceiling, another clip's features, nothing, other seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool

from app.learn import charts, pictures
from app.learn.pictures import Movie
from app.learn.telling import BARE, lesson_clip, onward, question
from app.workbench import settings
from app.workbench.catalogue import default_mask
from app.workbench.clip import Clip
from app.workbench.figures import Frames, to_link
from app.workbench.memory import kept
from app.workbench.rooms import ask

CLIP, OTHER = "two_collide", "rolling_ring"
STEPS = 4
SEEDS = tuple(range(8))
TOLD = {
    "truth": ("the truth", "The clip as it is."),
    "ceiling": ("true features", "Decoded from what the target encoder says: the ceiling."),
    "predicted": ("predictions", "Decoded from what is predicted of the hidden tokens."),
    "another seed": ("predictions, other noise", "The same predictions, other noise."),
    "another clip": (
        "another clip's",
        "Decoded from what is predicted behind this mask elsewhere.",
    ),
    "nothing": ("nothing", "Decoded without any features."),
}
"""What is decoded from, as the screen has it, and in a sentence."""

STORY = """
**V-JEPA never draws a pixel.** It predicts features; a small diffusion model, trained afterwards,
draws them. It is given the predictions of the *hidden* tokens alone, and nothing of the visible
clip. But a decoder can invent: how much of a picture was *predicted*, and how much would be there
anyway?

So compare. Inside of the white line the clip is hidden, and what you see is drawn: always from the
same noise, but for one.
"""
READ = """
- **True features** are the *ceiling*: what is missing here is lost by features or decoder, and no
  prediction could bring it back.
- **Other noise**: where two samples differ, the features did not say, and the decoder made it up.
- **Another clip's** predictions behind the same mask: were this picture as good, the decoder would
  not listen.
- **Nothing**: what the decoder draws from habit alone.

Only what *predictions* have beyond the last two is known by the model. Below is how like the truth
each one is over the hidden pixels. *Best fill* is the best of four that need no model, such as
the mean colour, or the nearest moment at which a place is seen:
"""
VERDICT = """
Here the predictions are **{own:+.1f} dB** above another clip's and **{fill:+.1f} dB** above the
best fill, and {ceiling:.1f} dB below the ceiling. One clip is an example; the page "Evaluation"
counts hundreds.
"""
ASKED = "A decoded picture is sharp and looks right. What does that prove?"
ANSWER = """
Nothing yet. A diffusion model draws sharp pictures whatever it is given; that is what it was
trained for. The prediction is shown to know something only where its picture is nearer to the truth
than one from another clip's features, or from nothing, *and* where samples with other noise agree
on it. And what a decoded picture lacks may still be in the features: the ceiling tells how much
gets lost.
"""


@dataclass(frozen=True)
class Decodings:
    """One clip behind one mask, decoded from several things.

    Attributes:
        frames: by what it was decoded from, a key of `TOLD`.
        psnr: likeness to the truth over the hidden pixels, dB, by the same keys and "best fill".
    """

    frames: dict[str, Frames]
    psnr: dict[str, float]


def lesson() -> None:
    """The story, six pictures, and their scores."""
    clip = lesson_clip(CLIP)
    mask = default_mask(CLIP, clip.model.config.grid)
    st.markdown(STORY)
    seed = settings.segments(st, "seed_of", SEEDS, 0, label="noise", key="lesson_seed")
    found = decoded(clip.id, to_link(mask), seed, clip, mask)
    shown = [
        Movie(title, pictures.outlined(found.frames[name], mask), told, likeness(found, name))
        for name, (title, told) in TOLD.items()
    ]
    pictures.movies(shown, "claims")
    st.markdown(READ)
    scores = {TOLD[name][0]: found.psnr[name] for name in TOLD if name in found.psnr}
    scores["best fill"] = found.psnr["best fill"]
    st.plotly_chart(charts.likeness_bars(scores), key="claims_bars", config=BARE)
    st.markdown(verdict(found.psnr))
    question(ASKED, ANSWER)
    onward("These samples, and their spread", "mask-and-decode", clip, mask, errors="pixels")


def likeness(found: Decodings, name: str) -> str:
    """How like the truth a picture is, for the screen."""
    return f"{found.psnr[name]:.1f} dB" if name in found.psnr else ""


@kept
def decoded(
    clip_id: str, mask_link: str, seed: int, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]
) -> Decodings:
    """The clip's hidden region from everything that is compared."""
    other = ask(lesson_clip(OTHER), lambda explorer: explorer.features(_mask).predictions.cpu())

    def work(explorer) -> Decodings:
        import torch

        from decoder.scoring.held_out import decode

        mask, frames = torch.from_numpy(_mask), torch.from_numpy(_clip.frames)
        seen = explorer.features(mask)
        predictions, truth = seen.predictions, explorer.targets[seen.target_idx]
        jobs = {
            "ceiling": (truth, "target", seed),
            "predicted": (predictions, "predicted", seed),
            "another seed": (predictions, "predicted", seed + len(SEEDS)),
            "another clip": (other.to(truth.device), "predicted", seed),
            "nothing": (torch.zeros_like(predictions), "null", seed),
        }
        drawn = {
            name: decode(explorer, frames[None], mask, given[None], told, [noise], STEPS)[0]
            for name, (given, told, noise) in jobs.items()
        }
        drawn = {name: found.cpu().numpy() for name, found in drawn.items()}
        return Decodings({"truth": _clip.frames, **drawn}, scored(drawn, _clip.frames, _mask))

    return ask(_clip, work)


def scored(
    drawn: dict[str, Frames], truth: Frames, mask: Bool[np.ndarray, "t h w"]
) -> dict[str, float]:
    """PSNR over the hidden pixels of each, and of the best fill without a model."""
    from decoder.scoring.metrics import psnr, trivial_fills

    hidden = pictures.pixels_of(mask, truth)
    found = {name: psnr(frames, truth, hidden) for name, frames in drawn.items()}
    fills = trivial_fills(truth, hidden).values()
    return found | {"best fill": max(psnr(frames, truth, hidden) for frames in fills)}


def verdict(psnr: dict[str, float]) -> str:
    """What the predictions have beyond the controls, in a sentence."""
    own = psnr["predicted"]
    return VERDICT.format(
        own=own - psnr["another clip"], fill=own - psnr["best fill"], ceiling=psnr["ceiling"] - own
    )
