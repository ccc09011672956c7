"""Gated scan: a linear recurrence whose gates do not depend on its state, so that all positions can be had at once."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def sequential_scan(keep: Tensor, write: Tensor, start: Tensor) -> Tensor:
    """s_t = keep_t ⊙ s_{t-1} + write_t, step by step: the specification.

    Args:
        keep, write: (B, T, N).
        start: s_{-1}, (N,).

    Returns:
        s_0..s_{T-1}, (B, T, N).
    """
    state, states = start, []
    for kept, written in zip(keep.unbind(1), write.unbind(1), strict=True):
        state = kept * state + written
        states.append(state)
    return torch.stack(states, dim=1) if states else write


def parallel_scan(keep: Tensor, write: Tensor, start: Tensor) -> Tensor:
    """`sequential_scan` in log2(T) steps over all positions (Hillis and Steele 1986), without a division.

    For the backward pass it holds the gates and the states, as the loop does, and nothing of the steps between. It can
    be differentiated once.
    """
    return _ParallelScan.apply(keep, write, start)


class _ParallelScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keep: Tensor, write: Tensor, start: Tensor) -> Tensor:
        states = _from_zero(keep, torch.cat((write[:, :1] + keep[:, :1] * start, write[:, 1:]), dim=1))
        ctx.save_for_backward(keep, states, start)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """g_t = ∂L/∂s_t + keep_{t+1} ⊙ g_{t+1}: the same recurrence, run backwards."""
        keep, states, start = ctx.saved_tensors
        later = torch.cat((keep[:, 1:], torch.zeros_like(keep[:, :1])), dim=1)
        gradient = _from_zero(later.flip(1), gradient.flip(1)).flip(1)
        first = gradient[:, :1]
        to_keep = torch.cat((first * start, gradient[:, 1:] * states[:, :-1]), dim=1)
        return to_keep, gradient, (first * keep[:, :1]).sum((0, 1))


def _from_zero(keep: Tensor, write: Tensor) -> Tensor:
    """From s_{-1} = 0: after the step of width w, position t holds the recurrence over its last 2w positions."""
    width = 1
    while width < write.shape[1]:
        later = keep[:, width:]
        write = torch.cat((write[:, :width], write[:, width:] + later * write[:, :-width]), dim=1)
        keep = torch.cat((keep[:, :width], later * keep[:, :-width]), dim=1)
        width *= 2
    return write


def gated_scan(keep: Tensor, write: Tensor, start: Tensor) -> Tensor:
    """The faster of the two: T small steps on a CPU, where work counts, few large ones on an accelerator."""
    scan = sequential_scan if write.device.type == "cpu" else parallel_scan
    return scan(keep, write, start)
