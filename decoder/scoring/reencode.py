"""Faithfulness: does a decoded clip, encoded again, say what it was decoded from?

All clips are predicted behind the same mask of each kind, so that the mask gives nothing away.
The re-encoding sees the decoded region in its surroundings, which are the true clip's: how much
they give away by themselves is what the clip decoded from nothing tells.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from scipy.stats import binomtest
from torch import Generator, Tensor

from decoder.explorer import Explorer
from decoder.scoring.held_out import (
    GROUP,
    MASK_NAMES,
    Clips,
    Group,
    decode,
    encode_hidden,
    make_group,
)
from vjepa import masks
from vjepa.analysis.intervals import interval

CANDIDATES = 256
"""Clips, at most, among whose predictions a decoded clip's own are looked for."""
TOKENS = 256
"""Hidden tokens, at most, that are compared."""
DECODED_FROM = ("predicted", "null")


@dataclass
class Search:
    """The search behind one mask.

    Attributes:
        candidates: predictions of every clip, (K, O) each.
        queries: re-encoded features of decoded clips, by what they were decoded from.
        own: each query's place among the candidates.
        cosines: of re-encoded features and the clip's predictions, token by token, then averaged.
    """

    candidates: list[Tensor] = field(default_factory=list)
    queries: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    own: list[int] = field(default_factory=list)
    cosines: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add_queries(self, explorer: Explorer, group: Group, steps: int, seed: int) -> None:
        """Decodes clips from their predictions and from nothing, and encodes the results again."""
        self.own += group.indices
        seeds = [seed + index for index in group.indices]
        for condition in DECODED_FROM:
            told = (group.clips.frames, group.mask, group.predictions, condition, seeds)
            again = encode_hidden(explorer, decode(explorer, *told, steps), group.mask)
            cosines = F.cosine_similarity(again, group.predictions, dim=-1).mean(1)
            self.queries[condition] += _some_tokens(again)
            self.cosines[condition] += cosines.tolist()

    def hits(self, condition: str) -> Bool[np.ndarray, " n"]:
        """For which decoded clips the nearest candidate is their own."""
        candidates = torch.stack(self.candidates)
        queries = torch.stack(self.queries[condition])
        return nearest_is_own(queries, candidates, torch.tensor(self.own)).numpy()


def nearest_is_own(
    queries: Float[Tensor, "Q K O"], candidates: Float[Tensor, "N K O"], own: Int64[Tensor, " Q"]
) -> Bool[Tensor, " Q"]:
    """Whether each query's nearest candidate is its own.

    Nearest by cosine, over all tokens at once. What a token's place says of any clip is the
    candidates' mean there, and is taken off.
    """
    mean = candidates.float().mean(0)
    a, b = (F.normalize((codes - mean).flatten(1), dim=-1) for codes in (queries, candidates))
    return (a @ b.T).argmax(1) == own


def _some_tokens(features: Float[Tensor, "B M O"]) -> Float[Tensor, "B K O"]:
    """Evenly spaced tokens, in half precision: all of a large model's would fill the memory."""
    every = features.shape[1]
    idx = torch.linspace(0, every - 1, min(every, TOKENS)).round().long().to(features.device)
    return features[:, idx].half().cpu()


def reencode(explorer: Explorer, clips: Clips, generator: Generator, steps: int, seed: int) -> dict:
    """Scores the search for a decoded clip's own predictions among those of up to 256 clips.

    Every clip is a candidate behind the masks of all kinds, and is decoded behind one of them.

    Args:
        explorer: model and decoder.
        clips: held-out clips.
        generator: draws one mask of each kind.
        steps: of the diffusion.
        seed: of the noise.
    """
    drawn = {kind: masks.make(kind, explorer.grid, generator) for kind in MASK_NAMES}
    searches = {kind: Search() for kind in drawn}
    count = min(len(clips), CANDIDATES)
    for indices in torch.arange(count).split(GROUP):
        batch = clips.read(indices.tolist())
        for number, (kind, mask) in enumerate(drawn.items()):
            group = make_group(explorer, indices.tolist(), batch, kind, mask)
            searches[kind].candidates += _some_tokens(group.predictions)
            mine = (indices % len(drawn) == number).nonzero()[:, 0].tolist()
            if mine:
                searches[kind].add_queries(explorer, group.at(mine), steps, seed)
    return _table({kind: search for kind, search in searches.items() if search.own}, count)


def _table(searches: dict[str, Search], count: int) -> dict:
    hits = {kind: search.hits("predicted") for kind, search in searches.items()}
    every = np.concatenate(list(hits.values()))
    return {
        "clips": len(every),
        "among": count,
        "top1": _share(every),
        "top1_null": _share(np.concatenate([one.hits("null") for one in searches.values()])),
        "top1_by_mask": {kind: _share(found) for kind, found in hits.items()},
        "cosine": interval(_cosines(searches, "predicted")),
        "cosine_null": interval(_cosines(searches, "null")),
    }


def _share(hits: Bool[np.ndarray, " n"]) -> dict:
    """How many, with Wilson's 95 % interval, which stays between 0 and 1."""
    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return {"mean": float(hits.mean()), "ci95": [float(found.low), float(found.high)]}


def _cosines(searches: dict[str, Search], condition: str) -> Float[np.ndarray, " n"]:
    return np.concatenate([search.cosines[condition] for search in searches.values()])
