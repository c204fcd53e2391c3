"""The attentive probe: what one learned query reads from frozen tokens.

V-JEPA's (paper, section 4.3) is one block of cross-attention. V-JEPA 2's (Assran et al. 2025) has
three blocks of self-attention before it.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from vjepa.errors import InputError
from vjepa.formats import hugging_face, official
from vjepa.formats.files import adopt, exists, read_json, read_safetensors
from vjepa.transformer import Block, Mlp


class AttentiveProbe(nn.Module):
    """Cross-attention with one learned query over all tokens, an MLP, then a linear layer.

    Tokens are layer-normed before they are read, each by itself. Raw features, layer-normed ones
    and predictions are therefore read alike: a probe that learned from whole clips can be asked
    about the context alone, or about the context with what is predicted beside it. As attention
    knows no order, there may be any number of tokens, those of several clips too.

    With blocks of self-attention before it, that is so no more: they add to the tokens as they
    are. Such a probe reads the features that it learned from, `model.encode`'s.

    Args:
        dim: D, width of the tokens.
        num_heads: H, of the cross-attention.
        num_outputs: K, classes or coordinates.
        classes: the names of the outputs; may be empty.
        depth: blocks of self-attention before the query.
        norm_eps: of the LayerNorms around the query.
        generator: of the first weights.

    Raises:
        InputError: the heads do not divide the width.
    """

    # With one query, nothing of keys and values need be computed token by token. A normed token x
    # is read as norm1(x) = gain * x + shift. Its score by the query q is
    #     q . (W_k norm1(x) + b_k) = (gain * W_k' q) . x + what is the same for every token,
    # and that leaves the softmax alone. The weights a_n sum to 1, so the value is
    #     sum_n a_n (W_v norm1(x_n) + b_v) = W_v (gain * sum_n a_n x_n + shift) + b_v.
    # It is the plain form's function, for 2 N D H multiplications a clip instead of 2 N D D.

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_outputs: int,
        classes: tuple[str, ...] = (),
        *,
        depth: int = 0,
        norm_eps: float = 1e-5,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f"A probe of width {dim} cannot have {num_heads} heads.")
        self.num_heads, self.classes = num_heads, classes
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.query = nn.Parameter(torch.empty(dim))
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim)
        self.linear = nn.Linear(dim, num_outputs)
        self._init(generator)

    def _init(self, generator: Generator | None) -> None:
        """The encoder's initialisation, but for the attention.

        From weights as small as the encoder's, all heads look everywhere alike for hundreds of
        steps, and short runs may end before they part.
        """
        narrow, wide = [self.mlp.fc1, self.mlp.fc2, self.linear], [self.q, self.kv]
        for block in self.blocks:
            narrow += [block.mlp.fc1, block.mlp.fc2]
            wide += [block.attn.qkv, block.attn.proj]
        for layer in (*narrow, *wide):
            nn.init.zeros_(layer.bias)
        for layer in narrow:
            nn.init.trunc_normal_(layer.weight, std=0.02, generator=generator)
        for layer in wide:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.normal_(self.query, generator=generator)

    def forward(self, features: Float[Tensor, "B N D"]) -> Float[Tensor, "B K"]:
        """Logits or coordinates, from tokens in any precision."""
        tokens = self._tokens(features)
        return self.read(attention_weights(tokens, self.keys()) @ tokens)

    def attention(self, features: Float[Tensor, "B N D"]) -> Float[Tensor, "B H N"]:
        """How much each head looks at each token; sums to 1 over the tokens."""
        return attention_weights(self._tokens(features), self.keys())

    def keys(self) -> Float[Tensor, "H D"]:
        """What each head's query looks for in a layer-normed token."""
        query = self._heads(self.q(self.query)[:, None])  # (H, e, 1)
        w_key = self._heads(self.kv.weight.chunk(2)[0])  # (H, e, D)
        return (query * w_key).sum(1) * query.shape[1] ** -0.5 * self.norm1.weight

    def read(self, pooled: Float[Tensor, "B H D"]) -> Float[Tensor, "B K"]:
        """Outputs from the layer-normed tokens that each head gathered."""
        w_value = self._heads(self.kv.weight.chunk(2)[1])
        gathered = pooled * self.norm1.weight + self.norm1.bias
        values = einsum(gathered, w_value, "b h d, h e d -> b h e").flatten(1)
        # The published file holds an output projection, xattn.proj, that is never applied.
        query = (self.query + values + self.kv.bias.chunk(2)[1])[:, None]  # (B, 1, D)
        return self.linear(query + self.mlp(self.norm2(query)))[:, 0]

    def _heads(self, weight: Tensor) -> Tensor:
        return rearrange(weight, "(h e) d -> h e d", h=self.num_heads)

    def _tokens(self, features: Tensor) -> Tensor:
        """What the query looks at: normed, but for the gain and shift, which are in the keys."""
        tokens = features.to(self.query.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return F.layer_norm(tokens, tokens.shape[-1:], eps=self.norm1.eps)


def attention_weights(
    tokens: Float[Tensor, "B N D"], keys: Float[Tensor, "H D"]
) -> Float[Tensor, "B H N"]:
    """softmax over the tokens of what each key finds in them."""
    return (tokens @ keys.T).softmax(dim=1).transpose(1, 2)


def save_probe(probe: AttentiveProbe, folder: Path, recipe: dict | None = None) -> None:
    """Writes a probe as a folder: config.json and probe.safetensors, float16.

    Args:
        probe: to be saved.
        folder: made when it is missing.
        recipe: how the probe was trained; JSON values, kept in config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.half().contiguous().cpu() for name, t in probe.state_dict().items()}
    save_file(tensors, folder / "probe.safetensors")
    config = {
        "probe_num_heads": probe.num_heads,
        "norm_eps": probe.norm1.eps,
        "classes": probe.classes,
        "training": recipe or {},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load_probe(path: str | Path, *, labels: str | Path | None = None) -> AttentiveProbe:
    """A frozen probe in float32 on the CPU.

    Args:
        path: a folder that `save_probe` wrote, the folder of a transformers V-JEPA 2 classifier,
            or a published V-JEPA `.pth.tar`. The last has 16 heads and no names of classes, unless
            the config.json beside it gives `probe_num_heads` or `classes`.
        labels: a text file with the name of a class a line, in the order of the outputs; names
            that the probe has of its own give way.

    Raises:
        InputError: nothing is there, or it is no probe; a tensor that is missing, unexpected or of
            another shape is named; there are more or fewer names than outputs.
    """
    path = Path(path)
    if not exists(path):
        raise InputError(
            f"There is no probe {path}: give a folder of ours, a V-JEPA 2 classifier's, or a "
            ".pth.tar file."
        )
    if path.is_dir() and hugging_face.recognises(path):
        tensors, config = hugging_face.read_probe(path)
    elif path.is_dir():
        tensors, config = read_safetensors(path / "probe.safetensors"), _read_config(path)
    else:
        tensors, config = official.read_probe(path), _read_config(path.parent)
    if labels is not None:
        config = {**config, "classes": read_labels(labels)}
    return _build(tensors, config, path).eval().requires_grad_(False)


def read_labels(path: str | Path) -> list[str]:
    """Names of classes, one a line; empty lines at the end do not count.

    Raises:
        InputError: the file is missing or no text.
    """
    try:
        return [
            line.strip() for line in Path(path).read_text(encoding="utf-8").rstrip().splitlines()
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable text file: give one name a line.") from error


PUBLISHED_HEADS, PUBLISHED_EPS = 16, 1e-5


def _build(tensors: dict[str, Tensor], config: dict, path: Path) -> AttentiveProbe:
    weight = tensors.get("linear.weight")
    if weight is None or weight.ndim != 2:
        raise InputError(f"{path} lacks the tensor linear.weight: it is no attentive probe.")
    heads, eps = _numbers(config, path)
    outputs, dim = weight.shape
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    classes = _classes(config, outputs, path)
    with torch.device("meta"):  # no first weights, which nobody would use
        probe = AttentiveProbe(dim, heads, outputs, classes, depth=depth, norm_eps=eps)
    adopt(probe, tensors, str(path), torch.float32)
    return probe


def _numbers(config: dict, path: Path) -> tuple[int, float]:
    """Heads and epsilon, once they are numbers that a probe may have."""
    heads = config.get("probe_num_heads", PUBLISHED_HEADS)
    eps = config.get("norm_eps", PUBLISHED_EPS)
    if type(heads) is not int or heads < 1:
        raise InputError(f"probe_num_heads beside {path} must be a positive number, not {heads!r}.")
    if not isinstance(eps, float) or eps <= 0:
        raise InputError(f"norm_eps beside {path} must be a positive number, not {eps!r}.")
    return heads, eps


def _classes(config: dict, outputs: int, path: Path) -> tuple[str, ...]:
    classes = config.get("classes", [])
    if not isinstance(classes, list) or len(classes) not in (0, outputs):
        count = f"not {len(classes)}" if isinstance(classes, list) else "as a list"
        raise InputError(f"The probe {path} needs names of {outputs} classes or none, {count}.")
    return tuple(map(str, classes))


def _read_config(folder: Path) -> dict:
    """The folder's config.json; empty where there is none."""
    path = folder / "config.json"
    return read_json(path) if path.is_file() else {}
