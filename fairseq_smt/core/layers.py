"""The Transformer block shared by the teachers, the future predictor and the transformer cell."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fairseq_smt.core.errors import require
from fairseq_smt.core.fused import RMSNorm, causal_convolution, feed_forward, pays


def rotary_table(length: int, head_width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions 0..length-1, each (length, head_width / 2), in the dtype of `like`."""
    half = head_width // 2
    frequency = 10000.0 ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
    angle = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * frequency
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x_i, x_{i + half}) of queries or keys (N, heads, T, head_width) by their position's angle."""
    cos, sin = table
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotate_neighbours(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """`rotate` of (N, T, ..., heads, head_width) where the pairs are neighbours, (x_2i, x_{2i + 1}).

    A pair is a complex number and its turn one product, at least in float32.
    """
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    turn = torch.complex(*(part.to(precise.dtype) for part in table))
    turned = pairs_of(precise) * turn.unflatten(0, (-1, *[1] * (x.dim() - 3)))
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


def pairs_of(x: Tensor) -> Tensor:
    """The pairs (x_2i, x_{2i + 1}) of (..., D) as complex numbers (..., D / 2), in the same memory."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def plain_turned(qkv: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, by `rotate_neighbours`, and values of (N, T, 3, heads, head_width), each (N, T, heads, ·)."""
    qk, v = qkv.split((2, 1), dim=2)
    return *rotate_neighbours(qk, table).unbind(2), v[:, :, 0]


def turned(qkv: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """`plain_turned`."""
    return _Turned.apply(qkv, *table) if pays(qkv, *table) else plain_turned(qkv, table)


class _Turned(torch.autograd.Function):
    """The three gradients go at once to where the product before them wants them."""

    @staticmethod
    def forward(ctx, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        return plain_turned(qkv, (cos, sin))

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        to_qkv = torch.stack(gradients, dim=2)
        pairs_of(to_qkv[:, :, :2]).mul_(torch.complex(cos, -sin)[:, None, None])
        return to_qkv, None, None


class CausalConvolution(nn.Module):
    """x and its depthwise convolution over the current and the `taps - 1` previous positions, (N, T, D) → (N, T, D)."""

    def __init__(self, width: int, taps: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(taps, width) * taps**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        with_itself = torch.cat((self.weight[:1] + 1, self.weight[1:]))
        return causal_convolution(x, with_itself)


class Attention(nn.Module):
    """Multi-head self-attention; `causal` hides later positions."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None = None, visible: Tensor | None = None) -> Tensor:
        """(N, T, D) → (N, T, D); without `causal`, `visible` (N, T) says which positions may be attended to."""
        n, length, width = x.shape
        whole = torch.compiler.is_compiling()  # the compiler has code for real numbers only
        weight = self.qkv.weight if rotary is None or whole else self._with_neighbours()
        qkv = F.linear(x, weight).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = (z.transpose(1, 2) for z in (qkv.unbind(2) if rotary is None or whole else turned(qkv, rotary)))
        if rotary is not None and whole:
            q, k = rotate(q, rotary), rotate(k, rotary)
        mask = None if visible is None else visible[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, length, width))

    def _with_neighbours(self) -> Tensor:
        """The weight of `qkv`, its rows in an order that makes the pairs of `rotate` neighbours in queries and keys.

        Both have the same order, so that their products are those of `qkv`.
        """
        width = self.qkv.in_features
        to_query_key, to_value = self.qkv.weight.split((2 * width, width))
        pairs = to_query_key.view(2 * self.heads, 2, -1, width).transpose(1, 2)
        return torch.cat((pairs.reshape(2 * width, width), to_value))

    def read(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Attention of several columns per position to the first: (N, T, C, D) → (N, T, C, D).

        Every column of position t attends to the first column of the positions up to t, so that one causal kernel
        serves them all.
        """
        n, length, columns, width = x.shape
        heads = (self.heads, width // self.heads)
        to_query, to_key_value = self.qkv.weight.split((width, 2 * width))
        q = rotate(F.linear(x, to_query).unflatten(-1, heads).permute(0, 2, 3, 1, 4), rotary)
        k, v = F.linear(x[:, :, 0], to_key_value).view(n, length, 2, *heads).permute(2, 0, 3, 1, 4)
        k, v = (z[:, None].expand(-1, columns, -1, -1, -1).flatten(0, 1) for z in (rotate(k, rotary), v))
        y = F.scaled_dot_product_attention(q.flatten(0, 1), k, v, is_causal=True)
        return self.out(y.view(n, columns, *y.shape[1:]).permute(0, 3, 1, 2, 4).flatten(3))


class Block(nn.Module):
    """Pre-RMSNorm Transformer block with an optional convolution before the attention.

    Args:
        width: D.
        heads: attention heads; must divide `width`.
        causal: whether a position sees only itself and earlier ones.
        convolution: taps of the causal convolution, 0 for none.
        what: the flag's prefix, for error messages.
    """

    def __init__(self, width: int, heads: int, *, causal: bool, convolution: int = 0, what: str = "attention"):
        super().__init__()
        require(
            heads > 0 and width % heads == 0 and (width // heads) % 2 == 0,
            f"--{what}-heads {heads} does not fit: it must divide the width {width} into heads of even width.",
        )
        self.convolution = CausalConvolution(width, convolution) if convolution else None
        self.norm_attention = RMSNorm(width)
        self.attention = Attention(width, heads, causal)
        self.norm_mlp = RMSNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None = None, visible: Tensor | None = None) -> Tensor:
        """(N, T, D) → (N, T, D); `visible` as in `Attention.forward`."""
        h = self.norm_attention(x)
        if self.convolution is not None:
            h = self.convolution(h)
        return self._mlp(x + self.attention(h, rotary, visible))

    def read(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """The same block over (N, T, C, D): column 0 is the sequence itself, the others only read from it."""
        h = self.norm_attention(x)
        if self.convolution is not None:
            h = torch.cat((self.convolution(h[:, :, 0])[:, :, None], h[:, :, 1:]), dim=2)
        return self._mlp(x + self.attention.read(h, rotary))

    def _mlp(self, x: Tensor) -> Tensor:
        weights = (p for layer in (self.mlp_in, self.mlp_out) for p in (layer.weight, layer.bias))
        return x + feed_forward(self.norm_mlp(x), *weights)
