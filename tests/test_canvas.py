"""What is drawn on: pixels or latents; either way what is visible stays the clip's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from tiny import TINY

from decoder.canvas import Latents, open_vae, paste
from decoder.explorer import Explorer
from decoder.network import SIZES, TokenDecoder
from decoder.training.batch import TrainConfig
from decoder.training.train import train
from vjepa import checkpoint, masks
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import pixel_mask, split


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def vae():
    """Random, of a few numbers; it shrinks fourfold."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 4, 8),
            latent_channels=4,
            norm_num_groups=2,
            scaling_factor=0.5,
        ).eval()


@pytest.fixture
def frames():
    shape = (TINY.num_frames, TINY.image_size, TINY.image_size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator())


@pytest.fixture
def mask():
    return masks.random(TINY.grid, 0.5, generator=generator(1))


def test_latents_are_the_autoencoder_s_own_and_lie_where_their_pixels_do(vae, frames, mask):
    canvas = Latents(vae, TINY)
    target_idx = split(mask)[1]
    clean = canvas.cut(frames[None], target_idx)
    assert clean.shape == (1, int(mask.sum()), canvas.tubelet_dim)
    assert canvas.tubelet_dim < TINY.tubelet_dim / 10
    pixels = frames.movedim(-1, 1).float() / 127.5 - 1
    latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    side = TINY.patch_size // 4
    for place, token in enumerate(target_idx[0].tolist()):
        t, row, column = np.unravel_index(token, TINY.grid)
        ours = clean[0, place].view(4, TINY.tubelet_size, side, side)
        when = slice(t * TINY.tubelet_size, (t + 1) * TINY.tubelet_size)
        rows, columns = (slice(i * side, (i + 1) * side) for i in (row, column))
        torch.testing.assert_close(ours, latents[when, :, rows, columns].movedim(0, 1))


def test_what_is_pasted_is_what_the_autoencoder_makes_of_the_whole_frame(vae, frames, mask):
    canvas = Latents(vae, TINY)
    clean = canvas.cut(frames[None], split(mask)[1])
    pasted = canvas.paste(frames, torch.cat([clean, clean + 1]), mask)
    pixels = frames.movedim(-1, 1).float() / 127.5 - 1
    back = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    whole = ((back + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1)
    hidden = pixel_mask(mask, TINY)
    assert (pasted[0].int() - whole.int()).abs()[hidden].max() <= 1  # where it is rounded
    assert torch.equal(pasted[1][~hidden], frames[~hidden])
    assert not torch.equal(pasted[0][hidden], pasted[1][hidden])


def test_an_autoencoder_that_does_not_divide_the_patches_is_refused(vae, tmp_path):
    with pytest.raises(InputError, match="shrinks frames 4 times"):
        Latents(vae, replace(TINY, patch_size=6))
    with pytest.raises(InputError, match="no diffusers AutoencoderKL"):
        open_vae(tmp_path, torch.device("cpu"))


@pytest.fixture
def config(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoint.save(VJEPA(TINY), tmp_path / "model", torch.float32)
    small = {"width": 32, "depth": 1, "num_heads": 2, "steps": 2, "batch_size": 2, "levels": (0,)}
    return TrainConfig(out=tmp_path, model=str(tmp_path / "model"), precision="no", **small)


@pytest.mark.parametrize("cache_clips", [0, 4])
def test_a_decoder_of_latents_is_trained_found_and_asked(
    vae, config, frames, mask, tmp_path, cache_clips, capsys
):
    vae.save_pretrained(tmp_path / "vae")
    train(replace(config, vae=tmp_path / "vae", cache_clips=cache_clips))
    assert "memory: " in capsys.readouterr().err
    explorer = Explorer.load(tmp_path, device="cpu", dtype=torch.float32)
    explorer.set_clip(frames.numpy())
    result = explorer.predict(mask, seeds=(0, 1), steps=2)
    hidden = pixel_mask(mask, TINY).numpy()
    assert (result.frames[:, ~hidden] == frames.numpy()[~hidden]).all()
    assert (result.frames[0, hidden] != frames.numpy()[hidden]).any()
    assert explorer.pipeline.network.config.overlap == 0


def test_pixels_are_laid_over_as_they_were(frames, mask):
    nothing = torch.zeros(1, int(mask.sum()), TINY.tubelet_dim)
    grey = paste(frames, nothing, mask, TINY)[0][pixel_mask(mask, TINY)]
    assert (grey == 128).all()


def test_recomputed_blocks_have_the_same_gradients():
    shape = dict(zip(("width", "depth", "num_heads"), (32, 2, 2), strict=True))
    networks = []
    for recomputes in (False, True):
        torch.manual_seed(0)
        network = TokenDecoder(TINY.grid, TINY.tubelet_dim, TINY.output_dim, **shape)
        torch.nn.init.normal_(network.pixels_out.weight, std=0.1)
        if recomputes:
            network.enable_gradient_checkpointing()
        idx = torch.arange(5)[None]
        inputs = [
            torch.randn(1, 5, n, generator=generator()) for n in (TINY.tubelet_dim, TINY.output_dim)
        ]
        sigma, kind = torch.tensor([0.5]), torch.tensor([1])
        network(inputs[0], sigma, inputs[1], idx, kind).square().sum().backward()
        networks.append(network)
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_size_is_a_name_or_its_parts(tmp_path):
    assert TrainConfig(out=tmp_path).network_size == SIZES["demo"]
    large = TrainConfig(out=tmp_path, size="L", depth=3)
    assert large.network_size == (1024, 3, 16) and large.recomputes
    assert not replace(large, checkpointing=False).recomputes
    with pytest.raises(InputError, match="no size 'XL'"):
        TrainConfig(out=tmp_path, size="XL")
