"""Elementwise layers of training in few passes over memory, each beside the plain formula that it equals to rounding.

Torch runs some of them on a CPU as a chain of operations forwards and a longer one backwards. On other devices and
under torch.compile, which have kernels of their own, without gradient, and for small inputs the plain formula runs.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SMALL = 1 << 15
"""Numbers in an input below which calling a function costs more than it saves."""

PIECE = 1 << 15
"""Numbers that GELU works on at once, so that what lies between its operations stays in the cache."""


def pays(x: Tensor, *parameters: Tensor) -> bool:
    """Whether x and parameters of its dtype are worth a fused pass."""
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.numel() >= SMALL
        and x.dtype in (torch.float32, torch.float64)
        and all(p.dtype == x.dtype for p in parameters)
    )


def plain_gelu(x: Tensor) -> Tensor:
    """x Φ(x), with Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    return F.gelu(x, approximate="tanh")


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form: `plain_gelu`."""
    return _Gelu.apply(x) if pays(x) else plain_gelu(x)


class _Gelu(torch.autograd.Function):
    """(1 + tanh u) / 2 is sigmoid(2u), which torch computes faster; the slope is made where the sigmoid is at hand."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        one = x.new_tensor(ONE)
        for z, out, rise in _pieces(x, y, slope):
            _gelu_into(out, rise, z, one)
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return gradient * slope


ONE, THREE = math.sqrt(8 / math.pi), math.sqrt(8 / math.pi) * 0.044715
"""2u = ONE · x + THREE · x³, in `_Gelu`."""


def _gelu_into(out: Tensor, slope: Tensor, x: Tensor, one: Tensor) -> None:
    """Write GELU of x and its slope; `one` is `ONE` in the dtype of x, ()."""
    share = torch.addcmul(one, x, x, value=THREE).mul_(x).sigmoid_()
    torch.mul(x, share, out=out)
    torch.addcmul(one, x, x, value=3 * THREE, out=slope)
    torch.addcmul(share, slope, torch.addcmul(out, out, share, value=-1), out=slope)


def plain_feed_forward(x: Tensor, to: Tensor, to_bias: Tensor, back: Tensor, bias: Tensor) -> Tensor:
    """W_back gelu(W_to x + b_to) + b: (..., D), (H, D), (H,), (E, H), (E,) → (..., E)."""
    return F.linear(plain_gelu(F.linear(x, to, to_bias)), back, bias)


def feed_forward(x: Tensor, to: Tensor, to_bias: Tensor, back: Tensor, bias: Tensor) -> Tensor:
    """`plain_feed_forward`."""
    weights = (to, to_bias, back, bias)
    whole = pays(x, *weights) and not torch.is_autocast_enabled(x.device.type)
    return _FeedForward.apply(x, *weights) if whole else plain_feed_forward(x, *weights)


class _FeedForward(torch.autograd.Function):
    """The hidden layer is in the cache when its bias is added, and when its gradient meets the slope."""

    @staticmethod
    def forward(ctx, x: Tensor, to: Tensor, to_bias: Tensor, back: Tensor, bias: Tensor) -> Tensor:
        rows, one = x.reshape(-1, x.shape[-1]), x.new_tensor(ONE)
        hidden = rows @ to.T
        active, slope = torch.empty_like(hidden), torch.empty_like(hidden)
        for z, a, rise in _pieces(hidden, active, slope):
            _gelu_into(a, rise, z.add_(to_bias), one)
        ctx.save_for_backward(rows, to, back, active, slope)
        return F.linear(active, back, bias).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        rows, to, back, active, slope = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        hidden = (g @ back).mul_(slope)
        to_x = (hidden @ to).view(*gradient.shape[:-1], -1)
        return to_x, hidden.T @ rows, hidden.sum(0), g.T @ active, g.sum(0)


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Contiguous tensors of one shape (..., D) in pieces of about `PIECE` numbers, whole rows of (N, D)."""
    width = tensors[0].shape[-1]
    rows = max(1, PIECE // width)
    return zip(*(x.view(-1, width).split(rows) for x in tensors), strict=True)


def plain_rms_norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
    """x / √(mean x² + ε) ⊙ weight over the last axis, ε being the smallest step from 1 in the dtype of x."""
    return F.rms_norm(x, x.shape[-1:], weight)


def rms_norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
    """`plain_rms_norm`."""
    given = () if weight is None else (weight,)
    return _RmsNorm.apply(x, weight) if pays(x, *given) else plain_rms_norm(x, weight)


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor | None) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = (size.square() / x.shape[-1] + torch.finfo(x.dtype).eps).rsqrt()
        ctx.save_for_backward(x, weight, scale)
        y = x * scale
        return y if weight is None else y.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """∂L/∂x = scale g - scale³ x mean(g ⊙ x), with g = gradient ⊙ weight."""
        x, weight, scale = ctx.saved_tensors
        product = gradient * x
        rows = product.flatten(0, -2)
        if weight is None:
            along, to_weight = rows.sum(-1), None
            to_x = torch.mul(gradient, scale, out=product)
        else:
            along, to_weight = rows @ weight, scale.flatten() @ rows
            to_x = torch.mul(gradient, weight, out=product).mul_(scale)
        return to_x.addcmul_(x, along.view_as(scale) * scale**3, value=-1 / x.shape[-1]), to_weight


class RMSNorm(nn.RMSNorm):
    """`rms_norm` with a learned weight."""

    def __init__(self, width: int):
        super().__init__(width)

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight)


def plain_causal_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """y_t = Σ_lag weight_lag ⊙ x_{t - lag}, x being zero before position 0: (N, T, D), (taps, D) → (N, T, D)."""
    length = x.shape[1]
    return sum(w * F.pad(x, (0, 0, lag, 0))[:, :length] for lag, w in enumerate(weight))


def causal_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """`plain_causal_convolution`."""
    return _CausalConvolution.apply(x, weight) if pays(x, weight) else plain_causal_convolution(x, weight)


class _CausalConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = x * weight[0]
        for lag in range(1, min(len(weight), x.shape[1])):
            y[:, lag:].addcmul_(x[:, :-lag], weight[lag])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        to_x, to_weight = gradient * weight[0], torch.zeros_like(weight)
        to_weight[0] = (gradient * x).sum((0, 1))
        for lag in range(1, min(len(weight), x.shape[1])):
            to_x[:, :-lag].addcmul_(gradient[:, lag:], weight[lag])
            to_weight[lag] = (gradient[:, lag:] * x[:, :-lag]).sum((0, 1))
        return to_x, to_weight
