"""Retrieval finds the nearest token there is, shows its pixels, and leaves visible ones alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY
from torch import Generator

from decoder.__main__ import retrieve
from decoder.bank import Bank, bank_clips
from decoder.media import read_mask
from vjepa import masks
from vjepa.baselines import random_twin
from vjepa.data.clips import normalize
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.tokens import pixel_mask, split

CLIP_SHAPE = (TINY.num_frames, TINY.image_size, TINY.image_size, 3)


def draw(count, seed=0):
    """Clips of smooth noise: every tubelet looks different."""
    generator = Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 12, 12, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=CLIP_SHAPE[:3], mode="trilinear")
    return (fine.movedim(1, -1) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def model():
    return random_twin(VJEPA(TINY), seed=5)


@pytest.fixture(scope="module")
def clips():
    return draw(7)


@pytest.fixture(scope="module")
def bank(model, clips):
    return Bank.build(model, clips)


@pytest.fixture(scope="module")
def mask():
    return masks.random(TINY.grid, 0.5, generator=Generator().manual_seed(1))


def features_of(model, clip):
    return model.target_features(normalize(clip)[None])[0]


def test_a_clip_of_the_bank_finds_itself_unless_it_is_left_out(model, clips, bank, mask):
    target_idx = split(mask)[1][0]
    features = features_of(model, clips[3])[target_idx]
    own = bank.collage(clips[3], features, target_idx)
    assert (own.frames == clips[3].numpy()).all() and (own.sources == 3).all()
    assert np.nanmax(own.distance) < 1e-3  # the bank is float16
    other = bank.collage(clips[3], features, target_idx, leave_out="3")
    assert (other.sources != 3).all() and np.nanmin(other.distance) > 0.01


@pytest.mark.parametrize("spread", [0, 0.5])
def test_the_shortlist_loses_no_neighbour(model, bank, spread):
    """Against the plain definition, in float32 and at once; also of features unlike in length."""
    queries = features_of(model, draw(1, seed=9)[0]) + 0.1
    lengths = 1 + spread * torch.rand(7, TINY.num_tokens, 1, generator=Generator().manual_seed(2))
    bank = replace(bank, features=(bank.features * lengths).half())
    everything = bank.features.flatten(0, 1).float()
    assert (bank.nearest(queries) == torch.cdist(queries, everything).argmin(1)).all()


def test_how_queries_and_clips_are_cut_up_does_not_matter(model, clips, bank, monkeypatch):
    queries = features_of(model, draw(1, seed=9)[0])
    found = bank.nearest(queries)
    monkeypatch.setattr("decoder.bank.QUERIES", 5)
    monkeypatch.setattr("decoder.bank.ROWS", 1)
    assert (bank.nearest(queries) == found).all()
    order = torch.tensor([6, 2, 0, 5, 1, 3, 4])
    clip, token = bank.nearest(queries) // TINY.num_tokens, found % TINY.num_tokens
    shuffled = Bank.build(model, clips[order]).nearest(queries)
    assert (order[shuffled // TINY.num_tokens] == clip).all()
    assert (shuffled % TINY.num_tokens == token).all()


def test_visible_pixels_stay_and_hidden_ones_come_from_the_bank(model, clips, bank, mask):
    frames, target_idx = draw(1, seed=9)[0], split(mask)[1][0]
    features = features_of(model, frames)[target_idx]
    collage = bank.collage(frames.numpy(), features, target_idx)
    hidden = pixel_mask(mask, TINY).numpy()
    assert (collage.frames[~hidden] == frames.numpy()[~hidden]).all()
    known = {tuple(pixel) for pixel in clips.reshape(-1, 3).tolist()}
    assert all(tuple(pixel) in known for pixel in collage.frames[hidden].tolist())
    assert (np.isnan(collage.distance) == ~mask.numpy()).all()
    difference = bank.features.flatten(0, 1)[bank.nearest(features)] - features
    np.testing.assert_allclose(collage.distance[mask], difference.abs().mean(1), rtol=1e-5)


def test_the_order_of_the_tokens_does_not_matter(model, bank, mask):
    frames, target_idx = draw(1, seed=9)[0], split(mask)[1][0]
    features = features_of(model, frames)[target_idx]
    straight = bank.collage(frames, features, target_idx)
    back = bank.collage(frames, features.flip(0), target_idx.flip(0))
    np.testing.assert_array_equal(back.frames, straight.frames)
    np.testing.assert_array_equal(back.distance, straight.distance)


def test_a_bank_on_disk_answers_alike_and_is_encoded_once(model, clips, bank, tmp_path):
    seen = []

    def interrupt(done, total):
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bank.open(model, clips, tmp_path, progress=interrupt)
    assert seen == [(1, 7), (2, 7), (3, 7)] and len(list(tmp_path.iterdir())) == 3
    Bank.open(model, clips, tmp_path)
    blind = random_twin(model, seed=5)
    blind.target_features = None  # calling it would fail: nothing is left to encode
    again = Bank.open(blind, clips.flip(0), tmp_path)
    assert torch.equal(again.features.flip(0), bank.features)
    assert torch.equal(again.tubelets.flip(0), bank.tubelets)


def test_another_model_s_bank_and_a_damaged_one_are_refused(model, clips, tmp_path):
    Bank.open(model, clips[:2], tmp_path)
    other = random_twin(model, seed=6)
    torch.nn.init.normal_(other.encoder.norm.bias, generator=Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"another model's.*choose another folder"):
        Bank.open(other, clips[:2], tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged: delete it"):
        Bank.open(model, clips[:2], tmp_path)


def test_what_cannot_be_searched_is_said(model, clips, bank, mask):
    target_idx = split(mask)[1][0]
    with pytest.raises(InputError, match="width 24, not 25"):
        bank.collage(clips[0], torch.zeros(len(target_idx), 25), target_idx)
    with pytest.raises(InputError, match="clips of shape"):
        Bank.build(model, clips[:, :, :24, :24])
    with pytest.raises(InputError, match="clips of shape"):
        Bank.build(model, clips[:0])
    with pytest.raises(InputError, match="as many names"):
        Bank.build(model, clips, names=("one",))
    alone = Bank.build(model, clips, names=("cup",) * 7)
    with pytest.raises(InputError, match="clips of cup alone"):
        alone.nearest(torch.zeros(1, 24), leave_out="cup")


def test_without_videos_a_bank_holds_bundled_and_drawn_clips():
    clips, names = bank_clips(TINY, count=12)
    assert tuple(clips.shape[1:]) == CLIP_SHAPE and len(clips) == len(names) == 12
    assert {"cup_tilt_zoom", "drawn 0"} <= set(names)
    assert len(torch.unique(clips.flatten(1), dim=0)) == 12
    with pytest.raises(InputError, match="at least one"):
        bank_clips(TINY, count=0)


def test_a_folder_of_videos_is_spread_over_and_a_broken_one_left_out(make_video, tmp_path, caplog):
    for name in "abc":
        make_video(draw(1, ord(name))[0].repeat(6, 1, 1, 1).numpy(), name=f"{name}.mp4")
    (tmp_path / "c.mp4").write_bytes(b"no video")
    clips, names = bank_clips(TINY, tmp_path, count=7)
    assert names == ("a", "a", "b", "b") and len(clips) == 4
    assert "c.mp4 is left out" in caplog.text
    with pytest.raises(InputError, match="holds no video"):
        bank_clips(TINY, tmp_path / "nothing")


def test_masks_on_the_command_line(tmp_path, mask):
    np.save(tmp_path / "mask.npy", mask.numpy())
    assert torch.equal(read_mask(str(tmp_path / "mask.npy"), TINY.grid), mask)
    assert torch.equal(read_mask("future", TINY.grid), masks.future(TINY.grid, 1))
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(InputError, match=r"no readable \.npy"):
        read_mask(str(tmp_path / "text.npy"), TINY.grid)


def test_the_command_shows_original_collage_and_ceiling(cup_clip, tmp_path, capsys):
    import av

    out = tmp_path / "new" / "out.mp4"
    retrieve(cup_clip, out, mask="future", clips=8, bank=tmp_path / "bank")
    with av.open(str(out)) as video:
        frame = next(video.decode(video=0))
    assert (frame.width, frame.height) == (3 * 112, 112)
    assert "mean distance 0." in capsys.readouterr().out
    assert len(list((tmp_path / "bank").iterdir())) == 8
    with pytest.raises(InputError, match=r"\.mp4 or \.gif"):
        retrieve(cup_clip, tmp_path / "out.png")
