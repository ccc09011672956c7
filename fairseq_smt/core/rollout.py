"""Rollouts: the RNN run on its own memories over a block."""

import torch
from torch import Tensor, nn


def sequential(cell: nn.Module, memory: Tensor, inputs: Tensor) -> Tensor:
    """Apply the cell once per position; the specification of every other rollout.

    Args:
        cell: f.
        memory: the memory before the first input, (B, K, d).
        inputs: `cell.inputs(tokens)`, (B, T, ·).

    Returns:
        m̂_0..m̂_{T-1}, the memory after each input, (B, T, K, d).
    """
    memories = []
    for x in inputs.unbind(1):
        memory = cell(memory, x)
        memories.append(memory)
    if not memories:
        return memory[:, None][:, :0]
    return torch.stack(memories, dim=1)
