"""The attentive probe is the plain cross-attention; a probe file is read whole or not at all."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Generator

import vjepa
from vjepa.attentive import AttentiveProbe, save_probe
from vjepa.errors import InputError

DIM, HEADS = 24, 3


@pytest.fixture
def probe():
    """A probe none of whose parameters is at a value that would hide a mistake."""
    probe = AttentiveProbe(DIM, HEADS, 5, tuple("abcde"))
    generator = Generator().manual_seed(0)
    for parameter in probe.parameters():
        torch.nn.init.normal_(parameter, mean=0.1, std=0.4, generator=generator)
    return probe.eval().requires_grad_(False)


@pytest.fixture
def tokens():
    return torch.randn(4, 30, DIM, generator=Generator().manual_seed(1)) * 2 + 1


def plain(probe, features):
    """Cross-attention as it is usually written: keys and values of every token."""
    batch, count, dim = features.shape
    keys, values = probe.kv(probe.norm1(features)).chunk(2, dim=-1)
    query = probe.q(probe.query).expand(batch, 1, dim)
    q, k, v = (
        x.view(batch, -1, HEADS, dim // HEADS).transpose(1, 2) for x in (query, keys, values)
    )
    gathered = F.scaled_dot_product_attention(q, k, v)  # (B, H, 1, e)
    pooled = probe.query + gathered.transpose(1, 2).flatten(2)
    weights = (q @ k.transpose(-2, -1) * (dim // HEADS) ** -0.5).softmax(-1)[:, :, 0]
    return probe.linear(pooled + probe.mlp(probe.norm2(pooled)))[:, 0], weights


def test_folded_keys_and_values_are_the_plain_cross_attention(probe, tokens):
    logits, weights = plain(probe, tokens)
    torch.testing.assert_close(probe(tokens), logits)
    torch.testing.assert_close(probe.attention(tokens), weights)


def test_gradients_are_those_of_the_plain_form(probe, tokens):
    probe.requires_grad_(True)
    parameters = dict(probe.named_parameters())
    folded = torch.autograd.grad(probe(tokens).square().sum(), parameters.values())
    usual = torch.autograd.grad(plain(probe, tokens)[0].square().sum(), parameters.values())
    for name, ours, theirs in zip(parameters, folded, usual, strict=True):
        torch.testing.assert_close(ours, theirs, msg=name, atol=2e-4, rtol=1e-3)


def test_a_token_that_is_not_given_has_no_say(probe, tokens):
    """Context only: what is left out changes neither logits nor attention."""
    changed = tokens.clone()
    changed[:, 10:] = 7
    torch.testing.assert_close(probe(tokens[:, :10]), probe(changed[:, :10]))
    assert not torch.allclose(probe(tokens), probe(changed))


def test_two_copies_of_a_clip_read_as_one(probe, tokens):
    twice = torch.cat([tokens, tokens], dim=1)
    torch.testing.assert_close(probe(twice), probe(tokens))
    attention = probe.attention(twice)
    torch.testing.assert_close(attention.sum(-1), torch.ones(4, HEADS))
    torch.testing.assert_close(attention[..., :30], attention[..., 30:])


def test_saved_and_loaded_it_says_the_same(probe, tokens, tmp_path):
    probe.half().float()  # the file is float16
    save_probe(probe, tmp_path / "probe", {"steps": 3})
    loaded = vjepa.load_probe(tmp_path / "probe")
    torch.testing.assert_close(loaded(tokens), probe(tokens), atol=0, rtol=0)
    assert loaded.classes == ("a", "b", "c", "d", "e")
    assert json.loads((tmp_path / "probe" / "config.json").read_text())["training"] == {"steps": 3}


def spoil(tensors, config, how):
    """One thing wrong with a probe's files."""
    if how == "lacks":
        del tensors["norm2.bias"]
    elif how == "unexpected":
        tensors["norm3.bias"] = torch.zeros(DIM)
    elif how == "shape":
        tensors["query"] = torch.zeros(DIM + 1)
    elif how == "heads":
        config["probe_num_heads"] = 5
    elif how == "number":
        config["probe_num_heads"] = "many"
    elif how == "classes":
        config["classes"] = ["cat"]
    else:
        del tensors["linear.weight"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("lacks", "norm2.bias"),
        ("unexpected", "norm3.bias"),
        ("shape", "query"),
        ("heads", "5 heads"),
        ("number", "'many'"),
        ("classes", "5 classes"),
        ("linear", "linear.weight"),
    ],
)
def test_a_wrong_file_is_named_in_one_sentence(probe, tmp_path, how, says):
    save_probe(probe, tmp_path)
    path = tmp_path / "probe.safetensors"
    tensors, config = load_file(path), json.loads((tmp_path / "config.json").read_text())
    spoil(tensors, config, how)
    save_file(tensors, path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=says) as caught:
        vjepa.load_probe(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_probe_is_refused(golden, tmp_path):
    shutil.copy(golden / "vjepa1-a" / "probe.pth.tar", tmp_path)  # with no heads named beside it
    assert vjepa.load_probe(tmp_path / "probe.pth.tar").num_heads == 16
    (tmp_path / "config.json").write_text("[1")
    text = tmp_path / "probe.txt"
    text.write_text("no probe")
    model = golden / "vjepa1-a" / "checkpoint.pth.tar"
    for path in (tmp_path / "probe.pth.tar", tmp_path, text, model, tmp_path / "nothing"):
        with pytest.raises(InputError):
            vjepa.load_probe(path)
