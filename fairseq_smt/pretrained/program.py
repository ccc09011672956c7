"""One step of the RNN as a program of torch.export, which runs without this package."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fairseq_smt.core.language_model import RecurrentLanguageModel


class Step(nn.Module):
    """token (B,), memory (B, K, d) → logits (B, V), memory (B, K, d); the buffer `initial` is m_∅, (K, d)."""

    def __init__(self, rnn: RecurrentLanguageModel):
        super().__init__()
        self.rnn = rnn
        self.register_buffer("initial", rnn.initial(1)[0].detach().clone())

    def forward(self, token: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.rnn.step(token, memory)


@torch.no_grad()
def save_program(rnn: RecurrentLanguageModel, path: Path) -> None:
    """Write the step for any batch."""
    step = Step(rnn).eval()
    example = torch.zeros(2, dtype=torch.long), step.initial.repeat(2, 1, 1)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(step, example, dynamic_shapes=({0: batch}, {0: batch}), strict=False)
    torch.export.save(program, str(path))
