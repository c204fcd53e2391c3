"""What decoded pixels are scored by; always on the hidden pixels alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.stats import spearmanr
from torch import Tensor

from vjepa.analysis.intervals import interval

Frames = UInt8[np.ndarray, "T H W 3"]
Samples = UInt8[np.ndarray, "S T H W 3"]
PixelMask = Bool[np.ndarray, "T H W"]

FILLS = ("mean_colour", "temporal_copy", "interpolation", "inpainting")
"""What needs no model."""


def psnr(frames: Frames, truth: Frames, hidden: PixelMask) -> float:
    """Peak signal-to-noise ratio in dB, of the hidden pixels."""
    return decibels(squared_error(frames[hidden], truth[hidden]).mean())


def squared_error(
    colours: UInt8[np.ndarray, "*P 3"], truth: UInt8[np.ndarray, "*P 3"]
) -> Float[np.ndarray, "*P"]:
    """Squared error of every pixel, averaged over its colours; in units of 0..255, squared."""
    return np.square(colours.astype(np.float32) - truth).mean(-1)


def decibels(mean_squared_error: float | np.floating) -> float:
    """The PSNR that a mean squared error stands for, at most that of one grey level: 48.1 dB.

    Without that end, a still region that is copied exactly would outweigh all others in a mean.
    """
    return float(10 * np.log10(255**2 / max(mean_squared_error, 1)))


def ssim(frames: Frames, truth: Frames, hidden: PixelMask) -> float:
    """Structural similarity of the luminance (Wang et al. 2004), -1..1, over hidden pixels.

    Gaussian windows of sigma 1.5, frame by frame, on the clip with the region pasted in.
    """
    maps = [_ssim_map(_luminance(a), _luminance(b)) for a, b in zip(frames, truth, strict=True)]
    return float(np.stack(maps)[hidden].mean())


def _ssim_map(a: Float[np.ndarray, "H W"], b: Float[np.ndarray, "H W"]) -> np.ndarray:
    def blur(image):
        return cv2.GaussianBlur(image, (11, 11), 1.5)

    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )


def _luminance(frame: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)


def sharpness(frames: Frames, hidden: PixelMask) -> float:
    """Mean length of the luminance's gradient, per pixel, over hidden pixels."""
    gray = np.stack([_luminance(frame) for frame in frames])
    rows, columns = np.gradient(gray, axis=(1, 2))
    return float(np.hypot(rows, columns)[hidden].mean())


FLAT = 4.0
"""Grey levels: a place is flat where the truth deviates by less."""
LEAST_DEVIATION = 1.0
"""Grey levels: what deviates by less looks as smooth as what does not at all."""


def speckle(frames: Frames, truth: Frames, hidden: PixelMask) -> float | None:
    """How much flat places are speckled: their deviation, over that of the truth.

    Flat are 5 x 5 pixels, all hidden, whose luminance deviates by less than `FLAT` in the truth.

    Returns:
        the ratio of the root mean variances, the truth's at least `LEAST_DEVIATION`; None where
        nothing hidden is flat.
    """
    inside = np.stack([cv2.erode(frame.astype(np.uint8), np.ones((5, 5))) for frame in hidden])
    ours, theirs = (np.stack(list(map(_variance, clip))) for clip in (frames, truth))
    flat = (inside > 0) & (theirs < FLAT**2)
    if not flat.any():
        return None
    return float(np.sqrt(ours[flat].mean() / max(theirs[flat].mean(), LEAST_DEVIATION**2)))


def _variance(frame: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    """Of the luminance, in the 5 x 5 pixels around each."""
    gray = _luminance(frame)
    return np.maximum(cv2.blur(gray * gray, (5, 5)) - cv2.blur(gray, (5, 5)) ** 2, 0)


def spread_map(samples: Samples) -> Float[np.ndarray, "T H W"]:
    """What the features do not determine: every pixel's standard deviation over seeds.

    Averaged over its colours, in units of 0..255; zero where the clip is visible.
    """
    return samples.astype(np.float32).std(0).mean(-1)


def error_map(samples: Samples, truth: Frames) -> Float[np.ndarray, "T H W"]:
    """Absolute error of the samples' mean, averaged over the colours, in units of 0..255."""
    return np.abs(samples.mean(0, dtype=np.float32) - truth).mean(-1)


def spread_error_correlation(samples: Samples, truth: Frames, hidden: PixelMask) -> float:
    """Spearman correlation of the samples' spread and their mean's error, over hidden pixels.

    Zero where one of them is the same everywhere: a decoder that always draws the same says nothing
    about its errors.
    """
    spread, error = spread_map(samples)[hidden], error_map(samples, truth)[hidden]
    if np.ptp(spread) == 0 or np.ptp(error) == 0:
        return 0.0
    return float(spearmanr(spread, error).statistic)


def error_by_spread(
    samples: Samples, truth: Frames, hidden: PixelMask, parts: int = 10
) -> Float[np.ndarray, "2 parts"]:
    """Mean spread and mean error of the hidden pixels, sorted by spread into equal parts."""
    both = np.stack([spread_map(samples)[hidden], error_map(samples, truth)[hidden]])
    ordered = both[:, both[0].argsort(kind="stable")]
    return np.stack([part.mean(1) for part in np.array_split(ordered, parts, axis=1)], axis=1)


def trivial_fills(truth: Frames, hidden: PixelMask) -> dict[str, Frames]:
    """What needs no model: mean colour, nearest visible moment, in between in time, inpainting."""
    mean = np.where(hidden[..., None], truth[~hidden].mean(0).round().astype(np.uint8), truth)
    copied, between, inpainted = mean.copy(), mean.copy(), mean.copy()
    places = hidden.any(0)  # all others are as they were, at all times
    copied[:, places] = _temporal_copy(mean[:, places], hidden[:, places])
    between[:, places] = _interpolation(mean[:, places], hidden[:, places])
    for frame in hidden.any((1, 2)).nonzero()[0]:
        # from the mean, not the truth: OpenCV returns a frame that is hidden whole as it came
        mask = hidden[frame].astype(np.uint8)
        inpainted[frame] = cv2.inpaint(mean[frame], mask, 3, cv2.INPAINT_TELEA)
    fills = (mean, copied, between, inpainted)
    return dict(zip(FILLS, fills, strict=True))


def _temporal_copy(
    filled: UInt8[np.ndarray, "T P 3"], hidden: Bool[np.ndarray, "T P"]
) -> UInt8[np.ndarray, "T P 3"]:
    """Each hidden pixel as it was, or will be, at its nearest visible moment."""
    times = np.arange(len(filled))
    distance = np.abs(times[:, None] - times[None])[..., None].astype(np.float32)
    distance = distance + np.where(hidden, np.inf, 0)[None]  # (T, T', P)
    nearest = distance.argmin(1)  # a pixel hidden at all times keeps the mean colour of frame 0
    return np.take_along_axis(filled, nearest[..., None], axis=0)


def _interpolation(
    filled: UInt8[np.ndarray, "T P 3"], hidden: Bool[np.ndarray, "T P"]
) -> UInt8[np.ndarray, "T P 3"]:
    """Each hidden pixel between its last and its next visible moment; the one that there is."""
    times = np.arange(len(filled))[:, None]
    before = np.maximum.accumulate(np.where(hidden, -1, times), axis=0)
    after = np.minimum.accumulate(np.where(hidden, len(filled), times)[::-1], axis=0)[::-1]
    first = np.where(before < 0, np.where(after < len(filled), after, 0), before)
    second = np.where(after < len(filled), after, first)
    share = np.where(second > first, (times - first) / np.maximum(second - first, 1), 0)
    ends = [np.take_along_axis(filled, at[..., None], axis=0) for at in (first, second)]
    mixed = ends[0] * (1 - share[..., None]) + ends[1] * share[..., None]
    return mixed.round().astype(np.uint8)


SCORED = ("target", "predicted", "shuffled", "null")


@dataclass(frozen=True)
class ClipScore:
    """One clip's numbers.

    Attributes:
        index: the clip's place among those scored.
        kind: name of the preset that its mask is of.
        mask: True = hidden.
        numbers: by measure, "measure/condition" where there are conditions.
    """

    index: int
    kind: str
    mask: Bool[Tensor, "t h w"]
    numbers: dict[str, float]


class Scores(list[ClipScore]):
    """The numbers of many clips. A measure that only some clips have is averaged over those."""

    def where(self, test: Callable[[ClipScore], bool]) -> Scores:
        """The clips that pass a test."""
        return Scores(filter(test, self))

    def values(self, name: str) -> Float[np.ndarray, " n"]:
        """A measure of every clip that has it, in order."""
        return np.array([one.numbers[name] for one in self if name in one.numbers], np.float64)

    def mean(self, name: str) -> float:
        """Average over clips."""
        return float(self.values(name).mean())

    def interval(self, name: str) -> dict:
        """Average over clips, with its 95 % interval."""
        return interval(self.values(name))

    def difference(self, a: str, b: str) -> dict:
        """Mean of a - b over clips, with its 95 % interval."""
        return interval(self.values(a) - self.values(b))

    def knowledge(self, measure: str) -> dict | None:
        """(B - D) / (A - D): the share of what the decoder can draw that the predictions know.

        A ratio of means, its interval by the delta method. None where A is not above D.
        """
        above = self.values(f"{measure}/predicted") - self.values(f"{measure}/null")
        ceiling = self.values(f"{measure}/target") - self.values(f"{measure}/null")
        if ceiling.mean() <= 0:
            return None
        ratio = above.mean() / ceiling.mean()
        low, high = interval((above - ratio * ceiling) / ceiling.mean())["ci95"]
        return {"mean": float(ratio), "ci95": [float(ratio + low), float(ratio + high)]}

    def best_fill(self, measure: str) -> str:
        """The trivial fill that does best on average."""
        return max(FILLS, key=lambda name: self.mean(f"{measure}/{name}"))

    def by_condition(self, measure: str) -> dict[str, float]:
        """The mean of a measure under every condition; "trivial" is the best fill's."""
        row = {name: self.mean(f"{measure}/{name}") for name in SCORED + FILLS}
        return row | {"trivial": row[self.best_fill(measure)]}

    def compared(self, measure: str) -> dict:
        """A measure in decibels under every condition, and what B is above C, D and E."""
        rivals = {"shuffled": "shuffled", "null": "null", "trivial": self.best_fill(measure)}
        table = {"clips": len(self.values(f"{measure}/predicted"))}
        table["psnr"] = self.by_condition(measure)
        table["psnr_ci95"] = {
            name: self.interval(f"{measure}/{rivals.get(name, name)}")["ci95"]
            for name in (*SCORED, "trivial")
        }
        for name, rival in rivals.items():
            difference = self.difference(f"{measure}/predicted", f"{measure}/{rival}")
            table[f"predicted_minus_{name}"] = difference
        known = self.knowledge(measure)
        table["knowledge"] = known["mean"] if known else None
        table["knowledge_ci95"] = known["ci95"] if known else None
        return table
