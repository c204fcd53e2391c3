"""Which panels "Mask and decode" shows: with a decoder, and without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.mask_and_decode.answers import Answer, DecodedAnswer
from app.workbench.components import Panel

if TYPE_CHECKING:
    from app.mask_and_decode.previews import Nearest, Preview

ORIGINAL = Panel(
    "original", "original", "original", "The clip as it is: what is true behind the mask."
)
MASKED = Panel(
    "masked",
    "masked",
    "model sees",
    "All that the context encoder gets: hidden tokens are dropped before it.",
)
SAMPLE_TIP = (
    "The predicted features of the hidden tokens, decoded to pixels. Each sample starts from other "
    "noise: what they share the model knows, where they differ it does not."
)
CEILING_TIP = (
    "Decoded from the true features of the hidden tokens: as good as this decoder gets. What "
    "differs from a sample is the predictor's doing."
)
ERROR_TIP = (
    "How far each predicted token is from the true one (L1 distance of features). Bright is far."
)
NEAREST_TIP = (
    "Nearest neighbours: each hidden token shows the piece of another clip whose true features are "
    "closest to the predicted ones. No decoder is needed; what no other clip has cannot be shown."
)
NEAREST_CEILING_TIP = (
    "Nearest neighbours of the true features: as good as these clips get. What differs from the "
    "panel on the left is the predictor's doing."
)
DISTANCE_TIP = (
    "How far each predicted token is from its nearest neighbour. Bright: no clip holds the like."
)
EXPECTED_TIP = (
    "Decoded in one step: close to the mean of all that the decoder thinks possible, no sample. "
    "Four steps draw samples."
)
SPREAD_TIP = (
    "What the features do not determine: how far the samples differ at a pixel (standard deviation "
    "over the seeds, in grey levels of 255)."
)
MISTAKE_TIP = (
    "How far the samples' mean is from the truth, pixel by pixel, in grey levels of 255. Where it "
    "is large and the spread small, the model is sure and wrong."
)
PREDICTED_PCA_TIP = (
    "The predictions' three principal components as red, green and blue, on the scale of the "
    "clip's true features: compare with the panel on the right."
)
TRUE_PCA_TIP = "The true features of the same tokens, in the same colours."


def decoded(answer: DecodedAnswer | None, count: int, *, pixel_maps: bool = False) -> list[Panel]:
    """Samples of the diffusion decoder, their ceiling, and how wrong they are.

    Args:
        answer: what there is to show, if anything.
        count: how many samples there are.
        pixel_maps: spread and mistake of the pixels, in place of the error of the features.
    """
    ceiling = Panel(
        "ceiling", "pixels", "ceiling", CEILING_TIP, data=answer.ceiling if answer else b""
    )
    maps = [
        pixels("spread", SPREAD_TIP, answer and answer.spread, answer),
        pixels("mistake", MISTAKE_TIP, answer and answer.mistake, answer),
    ]
    rest = [ORIGINAL, ceiling, *maps] if pixel_maps else [ORIGINAL, MASKED, ceiling, error(answer)]
    return [*samples(answer, count), *rest]


def samples(answer: DecodedAnswer | None, count: int) -> list[Panel]:
    """One panel a seed; of one step, it is no sample."""
    sheets = answer.samples if answer else (b"",) * count
    seeds = [f"seed {seed}" for seed in answer.question.seeds] if answer else [""] * count
    expected = answer is not None and answer.question.steps == 1
    what, tip = ("expected image", EXPECTED_TIP) if expected else ("sample", SAMPLE_TIP)
    return [
        Panel(f"sample-{i}", "pixels", f"{what} {i + 1}", tip, side, sheet)
        for i, (sheet, side) in enumerate(zip(sheets, seeds, strict=True))
    ]


def pixels(name: str, tip: str, sheet: bytes | None, answer: DecodedAnswer | None) -> Panel:
    """A map of the pixels, on the scale that the answer's maps share."""
    if answer is None:
        return Panel(name, "pixels", name, tip)
    return Panel(name, "pixels", name, tip, data=sheet, scale=(0.0, answer.brightest))


def undecoded(preview: Preview | None, nearest: Nearest | None) -> list[Panel]:
    """Nearest neighbours and principal components: what there is to see without a decoder."""
    found = nearest.sheets if nearest else {"nearest": b"", "ceiling": b""}
    return [
        Panel("nearest", "pixels", "nearest neighbours", NEAREST_TIP, data=found["nearest"]),
        Panel("ceiling", "pixels", "ceiling", NEAREST_CEILING_TIP, data=found["ceiling"]),
        colours("pca-predicted", "PCA predicted", PREDICTED_PCA_TIP, preview and preview.predicted),
        colours("pca-true", "PCA true", TRUE_PCA_TIP, preview and preview.true),
        ORIGINAL,
        MASKED,
        error(preview),
        values("distance", DISTANCE_TIP, nearest and nearest.distance),
    ]


def error(answer: Answer | None) -> Panel:
    """How wrong the predictions are."""
    scale = answer.error_range() if answer else None
    return values("error", ERROR_TIP, answer and answer.error, scale)


def values(
    name: str, tip: str, found: np.ndarray | None, scale: tuple[float, float] | None = None
) -> Panel:
    """One number a token, (t, h, w); the largest is the brightest where there is no scale."""
    if found is None:
        return Panel(name, "values", name, tip)
    scale = scale or (0.0, float(np.nanmax(found)))
    return Panel(name, "values", name, tip, data=found.astype("<f4").tobytes(), scale=scale)


def colours(name: str, title: str, tip: str, found: np.ndarray | None) -> Panel:
    """One RGB colour a token, uint8 (t, h, w, 3)."""
    return Panel(name, "colours", title, tip, data=b"" if found is None else found.tobytes())
