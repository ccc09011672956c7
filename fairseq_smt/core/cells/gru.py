"""The gated recurrent unit."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fairseq_smt.core.cells.exact import normalize_backward, normalize_into, tanh_into, token_part, weight_gradient
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.memory import normalize_memory

aten = torch.ops.aten


def gated(before: Tensor, inputs: Tensor, remembered: Tensor) -> Tensor:
    """(1 - z) n + z m of a memory m (N, D), from the parts (N, 3·D) of the input and of m: reset, update, new."""
    to_gates, to_new = inputs.tensor_split((2 * before.shape[1],), dim=-1)
    own_gates, own_new = remembered.tensor_split((2 * before.shape[1],), dim=-1)
    reset, update = (to_gates + own_gates).sigmoid().chunk(2, dim=-1)
    new = (to_new + reset * own_new).tanh()
    return new + update * (before - new)


class GRUCell(nn.Module):
    """A gated recurrent unit over the flattened memory, RMS-normalised: m' = RMS((1 - z) n + z m).

    The gates are those of Cho et al. (2014) in torch's form, n = tanh(W_n x + r (U_n m)). Without the normalisation the
    memory shrinks into the middle of tanh's range and the labels follow it (the paper's collapse).
    """

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        size, hidden = sizes.memory_tokens * sizes.memory_width, sizes.cell_hidden
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.token_in = nn.Linear(hidden, 3 * size)
        self.memory_in = nn.Linear(size, 3 * size)

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., 3·K·d), the token's part of the reset, update and new gates."""
        return token_part(self.embedding, self.token_in, tokens)

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, 3·K·d) → (N, K, d)."""
        before = memory.flatten(1)
        return normalize_memory(gated(before, inputs, self.memory_in(before)).view_as(memory))

    def run(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, T, 3·K·d) → (N, T, K, d)."""
        return _Run.apply(memory, inputs, self.memory_in.weight, self.memory_in.bias, torch.is_grad_enabled())


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, memory: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor, keep: bool) -> Tensor:
        rows, steps, size = *inputs.shape[:2], weight.shape[1]
        kept = steps if keep else 1
        gates = inputs.new_empty(kept, rows, 2 * size)  # reset, update
        remembered = inputs.new_empty(kept, rows, size)  # U_n m
        new = inputs.new_empty(kept, rows, size)
        scale = inputs.new_empty(kept, rows, memory.shape[1], 1)
        out = inputs.new_empty(steps, *memory.shape)
        (to_gates, to_new), (gate_bias, new_bias) = (z.split((2 * size, size)) for z in (weight, bias))
        eps = memory.new_tensor(torch.finfo(memory.dtype).eps)
        before = memory.flatten(1)
        for t, x in enumerate(inputs.unbind(1)):
            g, r, n, s = (z[t if keep else 0] for z in (gates, remembered, new, scale))
            reset, update = (
                torch.addmm(gate_bias, before, to_gates.T, out=g).add_(x[:, : 2 * size]).sigmoid_().chunk(2, 1)
            )
            torch.addmm(new_bias, before, to_new.T, out=r)
            tanh_into(torch.addcmul(x[:, 2 * size :], reset, r, out=n))
            normalize_into(out[t], s, torch.lerp(n, before, update).view_as(memory), eps)
            before = out[t].flatten(1)
        ctx.save_for_backward(memory, weight, gates, remembered, new, scale, out)
        return out.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        memory, weight, gates, remembered, new, scale, out = ctx.saved_tensors
        size, memories = weight.shape[1], out.flatten(2)
        to_inputs = gates.new_empty(*gates.shape[:2], 3 * size)
        to_remembered = torch.empty_like(remembered)
        gate_weight, new_weight = weight.split((2 * size, size))
        carried = None
        for t in reversed(range(len(out))):
            g = gradient[:, t] if carried is None else gradient[:, t] + carried.view_as(memory)
            g = normalize_backward(g, out[t], scale[t]).flatten(1)
            before = memories[t - 1] if t else memory.flatten(1)
            reset, update = gates[t].chunk(2, dim=-1)
            to_gates, to_new = to_inputs[t].split((2 * size, size), dim=-1)
            to_reset, to_update = to_gates.chunk(2, dim=-1)
            to_before = g * update
            aten.tanh_backward.grad_input(g - to_before, new[t], grad_input=to_new)
            torch.mul(to_new, reset, out=to_remembered[t])
            torch.mul(to_new, remembered[t], out=to_reset)
            torch.mul(before - new[t], g, out=to_update)
            aten.sigmoid_backward.grad_input(to_gates, gates[t], grad_input=to_gates)
            carried = to_before.addmm_(to_gates, gate_weight).addmm_(to_remembered[t], new_weight)
        found = (to_inputs[..., : 2 * size], to_remembered)
        to_weight = torch.cat([weight_gradient(z, memory.flatten(1), memories[:-1]) for z in found])
        to_bias = torch.cat([z.sum((0, 1)) for z in found])
        return carried.view_as(memory), to_inputs.transpose(0, 1), to_weight, to_bias, None
