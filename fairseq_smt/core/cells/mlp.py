"""The cell with one hidden layer."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fairseq_smt.core.cells.exact import look_up, normalize_backward, normalize_into, weight_gradient
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.fused import gelu
from fairseq_smt.core.memory import normalize_memory


class MLPCell(nn.Module):
    """One hidden layer over the flattened memory and the token: m' = RMS(m + W_o gelu(W_m m + W_x x))."""

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        size, hidden = sizes.memory_tokens * sizes.memory_width, sizes.cell_hidden
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.memory_in = nn.Linear(size, hidden)
        self.memory_out = nn.Linear(hidden, size)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., hidden); W_x is the embedding table itself."""
        return look_up(self.embedding.weight, tokens)

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, hidden) → (N, K, d)."""
        update = self.memory_out(gelu(self.memory_in(memory.flatten(1)) + inputs))
        return normalize_memory(memory + update.view_as(memory))

    def run(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, T, hidden) → (N, T, K, d)."""
        weights = (p for layer in (self.memory_in, self.memory_out) for p in (layer.weight, layer.bias))
        return _Run.apply(memory, inputs, *weights, torch.is_grad_enabled())


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, memory: Tensor, inputs: Tensor, to: Tensor, to_bias: Tensor, back: Tensor, bias: Tensor, keep: bool
    ) -> Tensor:
        rows, steps, width = inputs.shape
        kept = steps if keep else 1
        hidden = inputs.new_empty(kept, rows, width)
        active = inputs.new_empty(kept, rows, width)
        scale = inputs.new_empty(kept, rows, memory.shape[1], 1)
        out = inputs.new_empty(steps, *memory.shape)
        eps = memory.new_tensor(torch.finfo(memory.dtype).eps)
        before = memory.flatten(1)
        for t, x in enumerate(inputs.unbind(1)):
            h, a, s = (z[t if keep else 0] for z in (hidden, active, scale))
            torch.addmm(to_bias, before, to.T, out=h).add_(x)
            torch.ops.aten.gelu.out(h, approximate="tanh", out=a)
            normalize_into(out[t], s, (before + bias).addmm_(a, back.T).view_as(memory), eps)
            before = out[t].flatten(1)
        ctx.save_for_backward(memory, to, back, hidden, active, scale, out)
        return out.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        memory, to, back, hidden, active, scale, out = ctx.saved_tensors
        to_sum = torch.empty_like(out)
        to_hidden = torch.empty_like(hidden)
        carried = None
        for t in reversed(range(len(out))):
            g = gradient[:, t] if carried is None else gradient[:, t] + carried.view_as(memory)
            to_sum[t] = normalize_backward(g, out[t], scale[t])
            g = to_sum[t].flatten(1)
            torch.ops.aten.gelu_backward.grad_input(g @ back, hidden[t], approximate="tanh", grad_input=to_hidden[t])
            carried = torch.addmm(g, to_hidden[t], to)
        to_sum, memories = to_sum.flatten(2), out.flatten(2)
        to_in = weight_gradient(to_hidden, memory.flatten(1), memories[:-1])
        to_out = to_sum.flatten(0, 1).T @ active.flatten(0, 1)
        to_inputs, biases = to_hidden.transpose(0, 1), (to_hidden.sum((0, 1)), to_sum.sum((0, 1)))
        return carried.view_as(memory), to_inputs, to_in, biases[0], to_out, biases[1], None
