"""Operations in the table of docs/decoder.md are those that torch counts."""

import torch
from tiny import TINY
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.decoder_cost import network_flops
from decoder.network import Size, TokenDecoder


def test_counted_operations_are_torch_s():
    size, tokens, outer = Size(32, 2, 2), 11, 12 + 2 * 4
    network = TokenDecoder(
        TINY.grid, TINY.tubelet_dim, TINY.output_dim, **size._asdict(), overlap=4
    ).bfloat16()  # whose attention is plain products, which torch counts everywhere
    idx, sigma = torch.arange(tokens)[None], torch.tensor([0.5])
    noisy, features = (torch.zeros(1, tokens, n) for n in (TINY.tubelet_dim, TINY.output_dim))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(noisy, sigma, features, idx, torch.tensor([1]))
    drawn = 3 * TINY.tubelet_size * outer**2
    expected = network_flops(size, tokens, TINY.tubelet_dim, drawn, TINY.output_dim)
    assert counter.get_total_flops() == expected + 16 * size.width**2  # the noise level's
