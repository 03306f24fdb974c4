"""One more token of each row, for models of the plain kind: what their class computes, without the layers of Python
around its products.

Keys and values are written in place and not repeated for the heads that share them; those of a head common to all rows
are held once and multiplied with all rows at a time. Adapters are read unmerged, those of queries, keys and values
together. On a GPU, where launching its kernels one by one takes longer than what they do, a step is one graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from alignpro.models.cache import ROOM
from alignpro.models.graphs import Replayed
from alignpro.models.lora import AdapterOff
from alignpro.models.packed_weights import LARGEST, packed
from alignpro.models.prefixes import Read
from alignpro.runtime.processes import is_sharded

PLAIN = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
"""Classes of root-mean-square norms, turned keys and gated layers, one after another and nothing else."""

TURNED_BY_LENGTH = {"dynamic", "longrope"}
"""Kinds of turned keys whose angles are chosen by the longest row, so that a step asks for its length."""

SLAB = 2048
"""Outputs of a product that are written as they lie; more are turned, so many at a time that they stay in the cache."""

Linear = Callable[[Tensor], Tensor]


class Decoder:
    """A plain model's weights in the order of use. They are read where they lie, but those of queries, keys and values,
    which are copied: it lives as long as weights stand still."""

    def __init__(self, model: Any) -> None:
        with_adapter = not isinstance(model, AdapterOff)
        self.model = inner_of(model)
        config = self.model.config
        self.heads, self.kept = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        again = sum(weight.numel() for weight in self.model.parameters()) <= LARGEST
        linear = functools.partial(_linear, with_adapter=with_adapter, again=again)
        body = self.model.model
        self.layers = [_Layer(layer, linear) for layer in body.layers]
        self.embed, self.turn = body.embed_tokens, body.rotary_emb
        self.norm, self.head = functools.partial(_normed, body.norm), linear([self.model.lm_head])
        on_gpu, turning = body.embed_tokens.weight.is_cuda, getattr(body.rotary_emb, "rope_type", "default")
        self.replays = on_gpu and turning not in TURNED_BY_LENGTH

    def begin(self, held: Read, head: int) -> Rows:
        """Rows of what a model keeps of queries [N], whose first `head` tokens are common to all."""
        both = [torch.stack([layer.keys, layer.values]) for layer in held.cache.layers]
        return Rows(
            self, [one[:, 0, :, :head] for one in both], [one[..., head:, :] for one in both], held.mask[:, head:]
        )


class _Layer:
    def __init__(self, layer: Any, linear: Callable[[Sequence[Any]], Linear]) -> None:
        attention, gated = layer.self_attn, layer.mlp
        self.before = functools.partial(_normed, layer.input_layernorm)
        self.qkv = linear([attention.q_proj, attention.k_proj, attention.v_proj])
        self.norms = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
        self.out = linear([attention.o_proj])
        self.between = functools.partial(_normed, layer.post_attention_layernorm)
        self.gate, self.up, self.down = (linear([one]) for one in (gated.gate_proj, gated.up_proj, gated.down_proj))

    def asking(self, x: Tensor, heads: int) -> Tensor:
        """Queries and keys [N, H, D], `heads` of them queries, by norms of their own where the class has some."""
        if not self.norms:
            return x
        return torch.cat(
            [_normed(norm, part) for norm, part in zip(self.norms, (x[:, :heads], x[:, heads:]), strict=True)], 1
        )


def is_plain(model: Any) -> bool:
    """Whether a Decoder computes what the model does: its class, and that nothing was hung into it."""
    inner = inner_of(model)
    if type(inner).__name__ not in PLAIN or inner.config.hidden_act != "silu" or inner.training or is_sharded():
        return False
    if getattr(inner.config, "sliding_window", None):
        return False
    parts = list(inner.modules())
    if any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in parts):
        return False
    products = [part for name, part in inner.named_modules() if name.endswith(("_proj", "lm_head"))]
    return all(_parts(part, True) is not None for part in products)


def inner_of(model: Any) -> Any:
    """The model of transformers' class inside those that switch adapters."""
    if isinstance(model, AdapterOff):
        model = model.adapted
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


class Rows:
    """Rows that are under way: keys and values of all they have read.

    shared: of the head common to all rows, a layer's two [2, H, L, D]. own: of what follows in each row, a layer's two
    [2, N, H, room, D], of which the first `length` are written; `padded` [N, room] is 0 on tokens, the least number
    there is on padding and on what is not written. position [N]: how many tokens each row has, the head's among them.
    """

    def __init__(self, decoder: Decoder, shared: Sequence[Tensor], own: list[Tensor], mask: Tensor) -> None:
        """own [2, N, H, L, D] a layer, mask [N, L] True on tokens."""
        self.decoder, self.shared, self.own = decoder, shared, own
        self.length = mask.shape[1]
        self.padded = torch.zeros(mask.shape, dtype=own[0].dtype, device=mask.device)
        self.padded.masked_fill_(~mask, torch.finfo(own[0].dtype).min)
        self.position = mask.sum(1) + shared[0].shape[2]
        self.even = bool(mask.all())
        self._written = self.padded.new_zeros(())
        self._replayed: Replayed | None = None

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [M], in this order, one more than once where it is to have several continuations."""
        self.padded, self.position = self.padded[rows, : self.length], self.position[rows]
        unused = 0
        if not self.even:
            used = (self.padded == 0).any(0).nonzero()
            unused = int(used[0]) if len(used) else self.length
            self.padded = self.padded[:, unused:]
            self.even = bool((self.padded == 0).all())
        for layer, held in enumerate(self.own):
            self.own[layer] = held[:, rows, :, unused : self.length]
        self.length -= unused
        self._replayed = None

    def join(self, other: Rows) -> None:
        """Take in the rows of another, after one's own; both have the same head."""
        length = max(self.length, other.length)
        self.even &= other.even and self.length == other.length
        low = torch.finfo(self.padded.dtype).min
        self.padded = torch.cat([_wider(rows.padded[:, : rows.length], 1, length, low) for rows in (self, other)])
        self.position = torch.cat([self.position, other.position])
        for layer, (held, new) in enumerate(zip(self.own, other.own, strict=True)):
            both = (held[..., : self.length, :], new[..., : other.length, :])
            self.own[layer] = torch.cat([_wider(one, 3, length, 0.0) for one in both], 1)
        self.length = length
        self._replayed = None

    def go_on(self, token: Tensor) -> Tensor:
        """The logits [N, V] after one more token [N] of each row; on a GPU they stand until the next."""
        if self.padded.shape[1] == self.length:
            self._make_room()
        self.length += 1
        if self.decoder.replays:
            self._replayed = self._replayed or Replayed(self._whole_room())
            return self._replayed(token)
        return self._step(token, slice(self.length - 1, self.length), self.length, not self.even)

    def _whole_room(self) -> Callable[[Tensor], Tensor]:
        """A step whose tensors are the same each time: it reads all the room there is and counts where it writes."""
        at = torch.tensor([self.length - 1], device=self.padded.device)

        def step(token: Tensor) -> Tensor:
            logits = self._step(token, at, self.padded.shape[1], True)
            at.add_(1)
            return logits

        return step

    def _step(self, token: Tensor, at: slice | Tensor, seen: int, masked: bool) -> Tensor:
        """The logits [N, V] after a token [N] of each row, written `at` its place; the first `seen` places are read."""
        decoder, rows = self.decoder, len(token)
        heads, kept, width = decoder.heads, decoder.kept, decoder.width
        x = decoder.embed(token)
        cos, sin = (turn.squeeze(1) for turn in decoder.turn(x, self.position.unsqueeze(1)))
        sin = torch.cat([-sin[:, : width // 2], sin[:, width // 2 :]], 1)[:, None]
        cos = cos[:, None]
        self.position += 1
        self.padded[:, at] = self._written
        padded = self.padded[:, None, None, :seen] if masked else None
        for layer, shared, own in zip(decoder.layers, self.shared, self.own, strict=True):
            qkv = layer.qkv(layer.before(x)).view(rows, heads + 2 * kept, width)
            turned = layer.asking(qkv[:, : heads + kept], heads)
            turned = (turned * cos).addcmul_(turned.roll(width // 2, 2), sin)
            own[0][:, :, at] = turned[:, heads:, None]
            own[1][:, :, at] = qkv[:, heads + kept :, None]
            query = (turned[:, :heads] * width**-0.5).view(rows, kept, heads // kept, width)
            read = _attended(query, shared, own[:, :, :, :seen], padded)
            x = layer.out(read.view(rows, heads * width)).add_(x)
            y = layer.between(x)
            x = layer.down(functional.silu(layer.gate(y), inplace=True).mul_(layer.up(y))).add_(x)
        return decoder.head(decoder.norm(x)).contiguous()

    def _make_room(self) -> None:
        """Zeros, for what is not written is read with a share of 0 where the whole room is read."""
        room = max(ROOM, self.length // 4)
        low = torch.finfo(self.padded.dtype).min
        self.padded = torch.cat([self.padded, self.padded.new_full((len(self.padded), room), low)], 1)
        for layer, held in enumerate(self.own):
            wide = held.new_zeros(*held.shape[:3], self.length + room, held.shape[4])
            wide[..., : self.length, :] = held[..., : self.length, :]
            self.own[layer] = wide
        self._replayed = None


def _attended(query: Tensor, shared: Tensor, own: Tensor, padded: Tensor | None) -> Tensor:
    """What each row reads [N, H, G, D] by its queries [N, H, G, D] of a head common to all [2, H, S, D] and of its own
    [2, N, H, L, D], with `padded` [N, 1, 1, L] added to its scores."""
    scores = query @ own[0].transpose(2, 3)
    if padded is not None:
        scores += padded
    head = shared.shape[2]
    if not head:
        return scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ own[1]
    rows, kept, group, width = query.shape
    together = query.transpose(0, 1).reshape(kept, rows * group, width)
    of_head = (together @ shared[0].transpose(1, 2)).view(kept, rows, group, head).transpose(0, 1)
    shares = torch.cat([of_head, scores], 3).softmax(-1, dtype=torch.float32).to(query.dtype)
    of_head = shares[..., :head].transpose(0, 1).reshape(kept, rows * group, head) @ shared[1]
    return (shares[..., head:] @ own[1]).add_(of_head.view(kept, rows, group, width).transpose(0, 1))


def _normed(norm: Any, x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) in float32, times the norm's weights."""
    even = functional.rms_norm(x.float(), (x.shape[-1],), None, norm.variance_epsilon)
    return even.to(x.dtype).mul_(norm.weight)


def _wider(held: Tensor, dim: int, length: int, value: float) -> Tensor:
    """With `value` before it along `dim`, so that it has that length."""
    missing = length - held.shape[dim]
    if not missing:
        return held
    shape = [*held.shape]
    shape[dim] = missing
    return torch.cat([held.new_full(shape, value), held], dim)


def _linear(layers: Sequence[Any], with_adapter: bool, again: bool) -> Linear:
    """Linear layers of one input as one, their outputs side by side, and their adapters as one of all their ranks. With
    `again` the weights may be held a second time."""
    parts = [part for part in (_parts(layer, with_adapter) for layer in layers) if part is not None]
    weights, biases, adapters = zip(*parts, strict=True)
    bias = None
    if any(one is not None for one in biases):
        bias = torch.cat([w.new_zeros(len(w)) if b is None else b for w, b in zip(weights, biases, strict=True)])
    base = packed(weights, bias) if again else None
    if base is None:
        weight = torch.cat(weights) if len(parts) > 1 else weights[0]
        base = functools.partial(_product, weight=weight, bias=bias)
    if not any(adapters):
        return base
    down = torch.cat([one[0] for one in adapters if one])
    up = torch.block_diag(
        *(one[1] if one else down.new_zeros(len(w), 0) for w, one in zip(weights, adapters, strict=True))
    )

    down, up = down.to(weights[0].dtype), up.to(weights[0].dtype)  # as the update reads them

    def linear(x: Tensor) -> Tensor:
        return base(x).addmm_(_product(x, down), up.t())

    return linear


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [N, I] times weight [O, I], and bias [O]. In float32 on a CPU, whose library repacks one of two factors at each
    call, as weight times x, so that this is x; outputs then lie column by column, but if they are many, as logits."""
    if not x.is_cpu or x.dtype != torch.float32:
        return functional.linear(x, weight, bias)
    if len(weight) <= SLAB:
        product = torch.mm(weight, x.t()).t()
    else:
        product = x.new_empty(len(x), len(weight))
        for start in range(0, len(weight), SLAB):
            product[:, start : start + SLAB] = torch.mm(weight[start : start + SLAB], x.t()).t()
    return product if bias is None else product.add_(bias)


def _parts(layer: Any, with_adapter: bool) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor] | None] | None:
    """Weight, bias, and the adapter's two weights, the second scaled; None of a layer that is not a product alone."""
    base = getattr(layer, "base_layer", layer)
    if type(base) is not nn.Linear:
        return None
    names = [] if base is layer or not with_adapter or layer.disable_adapters else layer.active_adapters
    names = [name for name in names if name in layer.lora_A and name not in layer.merged_adapters]
    if len(names) > 1 or any(name in layer.lora_variant or layer.lora_bias[name] for name in names):
        return None
    found = [(layer.lora_A[name].weight, layer.lora_B[name].weight * layer.scaling[name]) for name in names]
    return base.weight, base.bias, found[0] if found else None
