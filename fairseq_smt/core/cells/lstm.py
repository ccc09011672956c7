"""The long short-term memory, a baseline: torch's, whose state is the memory."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fairseq_smt.core.cells.exact import token_part, weight_gradient
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import require

aten = torch.ops.aten


class LSTMCell(nn.Module):
    """torch's LSTM of K·d / 2 units: the first half of the memory tokens holds h, the second c.

    The state is not normalised, as c counts without bound, so that the cell cannot follow labels. The readout sees h
    and c. The forget gate's bias starts at 1 (Jozefowicz et al., 2015).
    """

    follows_labels = False

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        tokens, hidden = sizes.memory_tokens, sizes.cell_hidden
        require(tokens % 2 == 0, f"--memory-tokens {tokens} is odd: --cell lstm needs as many for h as for c.")
        size = tokens // 2 * sizes.memory_width
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.token_in = nn.Linear(hidden, 4 * size)
        self.memory_in = nn.Linear(size, 4 * size)
        for layer in (self.token_in, self.memory_in):
            nn.init.uniform_(layer.weight, -(size**-0.5), size**-0.5)
            nn.init.zeros_(layer.bias)
        nn.init.ones_(self.token_in.bias[size : 2 * size])

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., 2·K·d), the token's part of the input, forget, cell and output gates."""
        return token_part(self.embedding, self.token_in, tokens)

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, 2·K·d) → (N, K, d)."""
        hidden, state = memory.flatten(1).chunk(2, dim=-1)
        take, keep, new, show = (self.memory_in(hidden) + inputs).chunk(4, dim=-1)
        state = keep.sigmoid() * state + take.sigmoid() * new.tanh()
        return torch.cat((show.sigmoid() * state.tanh(), state), dim=-1).view_as(memory)

    def run(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, T, 2·K·d) → (N, T, K, d)."""
        return _Run.apply(memory, inputs, self.memory_in.weight, self.memory_in.bias, torch.is_grad_enabled())


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, memory: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor, graph: bool) -> Tensor:
        rows, steps, size = *inputs.shape[:2], weight.shape[1]
        gates = inputs.new_empty(steps if graph else 1, rows, 4 * size)
        bent = inputs.new_empty(len(gates), rows, size)  # tanh(c)
        out = inputs.new_empty(steps, rows, 2 * size)
        g = gates.expand(steps, -1, -1)
        views = (g, g[..., : 2 * size], *g.chunk(4, dim=-1), bent.expand(steps, -1, -1), *out.chunk(2, dim=-1))
        hidden, state = memory.flatten(1).chunk(2, dim=-1)
        for x, g, two, take, keep, new, show, b, h, c in zip(inputs.unbind(1), *map(Tensor.unbind, views), strict=True):
            torch.addmm(bias, hidden, weight.T, out=g).add_(x)
            two.sigmoid_()
            torch.mul(keep, state, out=c).addcmul_(take, new.tanh_())
            torch.mul(show.sigmoid_(), torch.tanh(c, out=b), out=h)
            hidden, state = h, c
        ctx.save_for_backward(memory, weight, gates, bent, out)
        return out.view(steps, *memory.shape).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        memory, weight, gates, bent, out = ctx.saved_tensors
        size = weight.shape[1]
        (first, start), (hidden, state) = memory.flatten(1).chunk(2, dim=-1), out.chunk(2, dim=-1)
        take, keep, new, show = gates.chunk(4, dim=-1)
        factors = torch.empty_like(gates)  # ∂c of the first three gates before they are bent, and ∂h of the last
        to_take, to_keep, to_new, to_show = factors.chunk(4, dim=-1)
        to_take.copy_(aten.sigmoid_backward(new, take))
        to_keep[0] = aten.sigmoid_backward(start, keep[0])
        to_keep[1:] = aten.sigmoid_backward(state[:-1], keep[1:])
        to_new.copy_(aten.tanh_backward(take, new))
        to_show.copy_(aten.sigmoid_backward(bent, show))
        through = aten.tanh_backward(show, bent)
        to_gates = torch.empty_like(gates)
        to_hidden, to_state = torch.zeros_like(start), torch.zeros_like(start)
        wanted = (z.transpose(0, 1) for z in gradient.flatten(2).chunk(2, dim=-1))
        three, last = (z.unflatten(-1, (-1, size)) for z in (to_gates[..., : 3 * size], to_gates[..., 3 * size :]))
        factors = factors.unflatten(-1, (4, size))
        views = (*wanted, through, keep, factors[:, :, :3], factors[:, :, 3:], three, last, to_gates)
        steps = zip(*(z.unbind()[::-1] for z in views), strict=True)
        for h, c, bend, kept, by_state, by_hidden, three, last, all_gates in steps:
            to_hidden = to_hidden + h
            to_state = torch.addcmul(to_state + c, to_hidden, bend)
            torch.mul(to_state[:, None], by_state, out=three)
            torch.mul(to_hidden[:, None], by_hidden, out=last)
            to_state = to_state * kept
            to_hidden = all_gates @ weight
        to_memory = torch.cat((to_hidden, to_state), dim=-1).view_as(memory)
        to_weight = weight_gradient(to_gates, first, hidden[:-1])
        return to_memory, to_gates.transpose(0, 1), to_weight, to_gates.sum((0, 1)), None
