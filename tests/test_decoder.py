"""The decoder: it sees the hidden tokens alone, samples repeat, training resumes, A beats D."""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY

from decoder.canvas import paste, to_tubelets
from decoder.explorer import Explorer
from decoder.network import CONDITIONS, TokenDecoder
from decoder.pipeline import (
    SHARED,
    PredictionDecoderPipeline,
    draw_noise,
    draw_stable_noise,
    make_pipeline,
    velocity,
)
from decoder.scoring.score import score_decoder
from decoder.training.batch import draw_sigma
from decoder.training.train import TrainConfig, take_over, train
from vjepa import checkpoint, masks
from vjepa.analysis.intervals import interval
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import pixel_mask, split

CONFIG = TINY


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VJEPA(CONFIG)
    folder = tmp_path_factory.mktemp("bundle") / "model"
    checkpoint.save(model, folder, torch.float32)
    return folder


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TokenDecoder(
            grid=CONFIG.grid,
            tubelet_dim=CONFIG.tubelet_dim,
            feature_dim=CONFIG.embed_dim,
            width=32,
            depth=2,
            num_heads=2,
        )
        torch.nn.init.normal_(network.pixels_out.weight, std=0.1)
    return network


@pytest.fixture(scope="module")
def explorer(model_folder, network):
    make_pipeline(network).save_pretrained(model_folder.parent / "decoder")
    return Explorer.load(model_folder.parent, device="cpu", dtype=torch.float32)


@pytest.fixture
def frames():
    return torch.randint(0, 256, (4, 48, 48, 3), dtype=torch.uint8, generator=generator()).numpy()


@pytest.fixture
def mask():
    return masks.box(CONFIG.grid, (0, 2), (1, 3), (0, 2))


def test_paste_keeps_visible_pixels_and_inverts_to_tubelets(frames, mask):
    clip = torch.from_numpy(frames)
    other = 255 - clip
    tubelets = to_tubelets(other[None], split(mask)[1], CONFIG)
    pasted = paste(clip, tubelets, mask, CONFIG)[0]
    hidden = pixel_mask(mask, CONFIG)
    assert torch.equal(pasted[~hidden], clip[~hidden])
    assert torch.equal(pasted[hidden], other[hidden])


def test_the_velocity_of_the_truth_leads_back_to_it():
    clean, noise = torch.randn(2, 3, 5, 8).unbind(0)
    sigma = torch.tensor([0.2, 0.7, 1.0])
    noisy = (1 - sigma[:, None, None]) * clean + sigma[:, None, None] * noise
    torch.testing.assert_close(velocity(noisy, clean, sigma), noise - clean)


def test_a_perfect_network_is_sampled_to_its_answer():
    clean = torch.rand(2, 6, CONFIG.tubelet_dim, generator=generator()) * 2 - 1

    class Perfect(TokenDecoder):
        def forward(self, *_, **__):
            return clean

    perfect = Perfect(CONFIG.grid, CONFIG.tubelet_dim, CONFIG.embed_dim, 32, 1, 2)
    idx = torch.arange(6).expand(2, -1)
    for steps in (1, 4, 32):
        sampled = make_pipeline(perfect)(
            torch.zeros(2, 6, CONFIG.embed_dim),
            idx,
            ["predicted"] * 2,
            [generator(), generator(1)],
            num_inference_steps=steps,
        )
        torch.testing.assert_close(sampled, clean, atol=1e-4, rtol=0)


def test_the_null_condition_ignores_features_and_the_others_do_not(network):
    noisy = torch.randn(2, 5, CONFIG.tubelet_dim, generator=generator())
    sigma, idx = torch.tensor([0.5, 0.9]), torch.arange(5).expand(2, -1)
    a, b = torch.randn(2, 2, 5, CONFIG.embed_dim, generator=generator()).unbind(0)

    def out(features, source):
        return network(noisy, sigma, features, idx, torch.full((2,), CONDITIONS[source]))

    assert torch.equal(out(a, "null"), out(b, "null"))
    for source in ("target", "predicted"):
        assert not torch.allclose(out(a, source), out(b, source))


def test_the_same_seed_gives_the_same_sample_after_loading(explorer, model_folder, frames, mask):
    explorer.set_clip(frames)
    first = explorer.predict(mask, seeds=(3, 4), steps=2)
    again = Explorer.load(model_folder.parent, device="cpu", dtype=torch.float32)
    again.set_clip(frames)
    second = again.predict(mask, seeds=(3, 4), steps=2)
    np.testing.assert_array_equal(first.frames, second.frames)
    assert (first.frames[0] != first.frames[1]).any()


def test_side_by_side_each_answers_about_its_own_clip(explorer, frames, mask):
    clips = {explorer.beside(): frames, explorer: 255 - frames}
    for one, given in clips.items():
        one.set_clip(given)
    # with fewer threads, or more, last bits of float32 are others
    same = {"initializer": torch.set_num_threads, "initargs": (torch.get_num_threads(),)}
    with ThreadPoolExecutor(2, **same) as pool:
        asked = [pool.submit(one.predict, mask, steps=20) for one in clips]
    for given, found in zip(clips.values(), asked, strict=True):
        explorer.set_clip(given)
        alone = explorer.predict(mask, steps=20).frames
        np.testing.assert_array_equal(found.result().frames, alone)


def test_visible_pixels_are_the_clip_s_own(explorer, frames, mask):
    explorer.set_clip(frames)
    result = explorer.predict(mask)
    hidden = pixel_mask(mask, CONFIG).numpy()
    assert result.frames.shape == (4, *frames.shape)
    np.testing.assert_array_equal(
        result.frames[:, ~hidden], np.broadcast_to(frames[~hidden], (4, *frames[~hidden].shape))
    )
    np.testing.assert_array_equal(np.isnan(result.error), ~mask.numpy())
    assert result.predictions.shape == (int(mask.sum()), CONFIG.embed_dim)
    assert set(result.timings) == {"context", "predict", "decode"}


def test_a_notebook_shows_a_prediction_moving_and_in_a_line(explorer, frames, mask, tmp_path):
    explorer.set_clip(frames)
    result = explorer.predict(mask, seeds=(0, 1), steps=1)
    assert len(repr(result).splitlines()) == len(repr(explorer.inspect(mask)).splitlines()) == 1
    (shown,) = re.findall(r'src="data:image/gif;base64,([^"]+)"', result._repr_html_())
    picture = Image.open(io.BytesIO(base64.b64decode(shown)))
    assert picture.n_frames > 1
    assert picture.size == (3 * CONFIG.image_size, CONFIG.image_size)
    result.save(tmp_path / "seen.mp4")
    assert (tmp_path / "seen.mp4").stat().st_size
    with pytest.raises(InputError, match=r"mp4 or \.gif"):
        result.save(tmp_path / "seen.avi")


def test_what_is_hidden_cannot_change_the_samples(explorer, frames, mask):
    hidden = pixel_mask(mask, CONFIG).numpy()[..., None]
    explorer.set_clip(frames)
    first = explorer.predict(mask).frames
    explorer.set_clip(np.where(hidden, 255 - frames, frames))
    second = explorer.predict(mask)
    np.testing.assert_array_equal(first, second.frames)
    assert (second.ceiling != explorer.frames).any()


def test_noise_of_a_token_stays_while_the_mask_grows():
    small = draw_stable_noise(CONFIG.grid, 8, torch.tensor([4, 7]), generator(5))
    large = draw_stable_noise(CONFIG.grid, 8, torch.tensor([2, 4, 7, 9]), generator(5))
    assert torch.equal(small, large[[1, 2]])


def test_noise_is_standard_and_mostly_shared_through_time():
    every = torch.arange(2 * 16).expand(1, -1)
    noise = draw_noise((2, 4, 4), 4000, every, generator())[0].view(2, 16, 4000)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert (noise[0] * noise[1]).mean().item() == pytest.approx(SHARED, abs=0.02)
    assert (noise[0, 0] * noise[0, 1]).mean().item() == pytest.approx(0, abs=0.06)


def test_training_visits_pure_noise_and_all_else():
    sigma = draw_sigma(4000, generator())
    assert sigma.min() >= 0.05 and sigma.max() <= 1
    assert 0.1 < (sigma > 0.95).float().mean() < 0.4
    assert (sigma < 0.5).float().mean() > 0.1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda e: e.predict(np.zeros((2, 4, 4), bool)), "empty"),
        (lambda e: e.predict(np.ones((2, 4, 4), bool)), "whole clip"),
        (lambda e: e.predict(np.ones((2, 3, 4), bool)), "grid"),
        (lambda e: e.predict(np.eye(4, dtype=bool)[None].repeat(2, 0), steps=0), "step"),
        (lambda e: e.set_clip(np.zeros((4, 9, 9, 3), np.uint8)), "read_frames"),
    ],
)
def test_bad_input_gets_one_sentence(explorer, frames, call, says):
    explorer.set_clip(frames)
    with pytest.raises(InputError, match=says) as caught:
        call(explorer)
    assert "\n" not in str(caught.value)


def test_no_clip_and_no_decoder(explorer, frames, mask):
    with pytest.raises(InputError, match="set_clip"):
        Explorer(explorer.model, explorer.pipeline).predict(np.eye(4, dtype=bool)[None])
    explorer = Explorer(explorer.model)
    explorer.set_clip(frames)
    with pytest.raises(InputError, match="decoder train"):
        explorer.predict(mask)


def test_a_decoder_of_another_model_is_refused(explorer, tmp_path):
    other = replace(CONFIG, embed_dim=32, num_heads=2)
    checkpoint.save(VJEPA(other), tmp_path / "model")
    explorer.pipeline.save_pretrained(tmp_path / "decoder")
    with pytest.raises(InputError, match="belongs to a model"):
        Explorer.load(tmp_path)


@pytest.fixture
def train_config(model_folder, tmp_path):
    return TrainConfig(
        out=tmp_path / "run",
        model=str(model_folder),
        levels=(0,),
        width=32,
        depth=1,
        num_heads=2,
        steps=6,
        batch_size=4,
        warmup=2,
        precision="no",
        save_every=3,
        log_every=1,
    )


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "clips_per_second": None} for line in lines]


def test_a_resumed_run_follows_the_same_trajectory(train_config, tmp_path, monkeypatch):
    import decoder.training.train as training

    train(train_config)
    draw = training.draw_batch

    def draw_or_stop(material, grid, config, step, accelerator):
        if step == 4 and not config.resume:
            raise KeyboardInterrupt
        return draw(material, grid, config, step, accelerator)

    monkeypatch.setattr(training, "draw_batch", draw_or_stop)
    broken = replace(train_config, out=tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    train(replace(broken, resume=True))
    assert rows(broken.out) == rows(train_config.out)
    pipelines = [
        PredictionDecoderPipeline.from_pretrained(config.out / "decoder")
        for config in (broken, train_config)
    ]
    weights = [p.network.state_dict() for p in pipelines]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_training_teaches_what_the_features_say(train_config, model_folder):
    """After a short training, decoding true features beats decoding nothing (A over D)."""
    longer = replace(train_config, steps=150, batch_size=16, lr=3e-3, log_every=50, save_every=500)
    folder = train(longer)
    pipeline = PredictionDecoderPipeline.from_pretrained(folder)
    explorer = Explorer(checkpoint.load(model_folder, device="cpu", dtype=torch.float32), pipeline)
    table = score_decoder(explorer, "world", 16, levels=(0,), seed=0, steps=2)
    assert table["psnr"]["target"] > table["psnr"]["null"] + 0.5
    assert table["clips"] == 16
    assert {"1", "4", "32"} <= table["psnr_by_steps"].keys()
    assert -1 <= table["spread_error_spearman"] <= 1


def test_intervals():
    assert interval(np.array([1.0, 1.0, 1.0])) == {"mean": 1.0, "ci95": [1.0, 1.0]}
    found = interval(np.random.default_rng(0).normal(2, 1, 400))
    assert found["ci95"][0] < 2 < found["ci95"][1]
    assert found["ci95"][1] - found["ci95"][0] == pytest.approx(2 * 1.96 / 20, rel=0.1)


def test_a_decoder_begins_with_what_fits_of_another(network, tmp_path, caplog):
    make_pipeline(network).save_pretrained(tmp_path)
    shape = dict(network.config)
    wider = TokenDecoder.from_config({**shape, "feature_dim": 2 * shape["feature_dim"]})
    before = {name: t.clone() for name, t in wider.state_dict().items()}
    take_over(wider, tmp_path)
    for name, value in wider.state_dict().items():
        expected = before if name == "feature_in.weight" else network.state_dict()
        assert torch.equal(value, expected[name])
    assert "learned anew: feature_in.weight." in caplog.text


def test_beginning_with_nothing_gets_one_sentence(network, tmp_path):
    with pytest.raises(InputError, match="no decoder to begin with"):
        take_over(network, tmp_path)
    make_pipeline(network).save_pretrained(tmp_path)
    other = TokenDecoder(grid=(2, 2, 2), tubelet_dim=24, feature_dim=5, width=8, num_heads=2)
    with pytest.raises(InputError, match="Nothing"):
        take_over(other, tmp_path)
