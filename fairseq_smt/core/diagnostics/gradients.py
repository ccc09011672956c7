"""‖∂L/∂m_t‖ along a block, L being a method's own loss, summed over the positions of each sequence.

BPTT    m_t are the memories of the unrolled RNN, L = Σ_t CE(y_t, g(m_t)). What a late target says of an early memory
        passes through every step between them, so the norm may vanish or explode with t.
SMT     m_t are the labels. The teacher makes them side by side: L reaches each directly, by what is decoded from it
        and by the two transitions it takes part in, and the norm has no reason to depend on t.
        L is what the objective says of labels, with its own coefficients (`SupervisedMemoryTraining.of_labels`).
"""

from typing import Protocol

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel


class Objective(Protocol):
    """What is asked of `SupervisedMemoryTraining`."""

    def of_labels(self, modules: Modules, batch: Batch, label: Tensor) -> Tensor: ...


def unrolled_gradients(rnn: RecurrentLanguageModel, batch: Batch) -> Tensor:
    """BPTT: ‖∂L/∂m_t‖ for the memories after each input of the RNN unrolled from m_∅.

    Returns:
        (B, T) float64, the norm over K·d in nats per unit of memory; 0 at padding.
    """
    with torch.enable_grad():
        memory = rnn.initial(len(batch.inputs)).detach().requires_grad_()  # a graph even if the weights are frozen
        memories = []
        for x in rnn.cell.inputs(batch.inputs).unbind(1):
            memory = rnn.cell(memory, x)
            memories.append(memory)
        total, _ = losses.cross_entropy(rnn.readout(torch.stack(memories, dim=1)), batch.targets, batch.asked)
        gradients = torch.autograd.grad(total, memories)
    return _norm(torch.stack(gradients, dim=1))


def label_gradients(modules: Modules, batch: Batch, labels: Tensor, objective: Objective) -> Tensor:
    """SMT: ‖∂L/∂m_t‖ for the labels.

    Args:
        labels: m_t, (B, T, K, d).
        objective: that of SMT.

    Returns:
        (B, T) float64, the norm over K·d in nats per unit of memory; 0 at padding.
    """
    labels = labels.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(objective.of_labels(modules, batch, labels), labels)
    return _norm(gradient)


def _norm(gradient: Tensor) -> Tensor:
    """(B, T, K, d) → (B, T), in float64: squares of what has vanished over hundreds of steps are no float32."""
    return gradient.double().flatten(2).norm(dim=2)
