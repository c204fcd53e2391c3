"""The attentive probe is the plain cross-attention; a probe file is read whole or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Generator

import vjepa
from vjepa.analysis.attentive import AttentiveProbe, save_probe
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


def test_self_attention_before_the_query(tokens, tmp_path):
    """V-JEPA 2's probe: blocks, then the same reading; also after a file."""
    deep = AttentiveProbe(DIM, HEADS, 5, depth=2, norm_eps=1e-6, generator=Generator())
    flat = AttentiveProbe(DIM, HEADS, 5, norm_eps=1e-6)
    flat.load_state_dict({n: t for n, t in deep.state_dict().items() if "blocks" not in n})
    mixed = deep.blocks[1](deep.blocks[0](tokens))
    torch.testing.assert_close(deep(tokens), flat(mixed))
    torch.testing.assert_close(deep.attention(tokens), flat.attention(mixed))
    deep.half().float()
    save_probe(deep, tmp_path)
    loaded = vjepa.load_probe(tmp_path)
    torch.testing.assert_close(loaded(tokens), deep(tokens), atol=0, rtol=0)
    assert loaded.norm1.eps == 1e-6


def test_a_transformers_classifier_says_the_same(golden):
    """The logits of transformers' V-JEPA 2, from its folder as it is."""
    expected = load_file(golden / "vjepa2-a" / "expected.safetensors")
    probe = vjepa.load_probe(golden / "vjepa2-a")
    logits = probe(expected["encoder_full"])
    torch.testing.assert_close(logits, expected["logits"], atol=1e-4, rtol=0)
    assert probe.classes == tuple(f"LABEL_{i}" for i in range(6))


@pytest.fixture
def classifier(golden, tmp_path):
    """A copy of the classifier's folder, to be spoiled."""
    return Path(shutil.copytree(golden / "vjepa2-a", tmp_path / "vjepa2-a"))


SELF, CROSS = "pooler.self_attention_layers.1.", "pooler.cross_attention_layer."


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        (CROSS + "layer_norm2.bias", None, "lacks the tensor norm2.bias"),
        (SELF + "self_attn.k_proj.bias", None, "lacks the tensor blocks.1.attn.qkv.bias"),
        (SELF + "self_attn.v_proj.weight", torch.zeros(72, 71), "blocks.1.attn.qkv.weight"),
        (CROSS + "cross_attn.out_proj.weight", torch.zeros(72, 72), "unexpected tensor"),
        (SELF + "mlp.fc1.bias", torch.zeros(5), r"blocks.1.mlp.fc1.bias has shape \(5,\)"),
        ("pooler.query_tokens", None, "no probe, only a model"),
        ("classifier.bias", torch.zeros(7), r"linear.bias has shape \(7,\)"),
    ],
)
def test_a_spoiled_classifier_is_named_in_one_sentence(classifier, name, tensor, says):
    tensors = load_file(classifier / "model.safetensors")
    tensors.pop(name, None)
    save_file(
        tensors if tensor is None else {**tensors, name: tensor}, classifier / "model.safetensors"
    )
    with pytest.raises(InputError, match=says):
        vjepa.load_probe(classifier)


def test_a_classifier_s_file_that_is_cut_off(classifier):
    path = classifier / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="no readable safetensors"):
        vjepa.load_probe(classifier)


def test_names_of_classes_from_a_file(golden, tmp_path):
    """Published V-JEPA probes have none; whatever has some, the file's are taken."""
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo words\n3\nvier\nfünf\nsix\n\n", encoding="utf-8")
    probe = vjepa.load_probe(golden / "vjepa2-a", labels=labels)
    assert probe.classes == ("one", "two words", "3", "vier", "fünf", "six")
    labels.write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"names of 6 classes or none, not 2\."):
        vjepa.load_probe(golden / "vjepa2-a", labels=labels)
    with pytest.raises(InputError, match="one name a line"):
        vjepa.load_probe(golden / "vjepa2-a", labels=tmp_path / "nothing.txt")


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
