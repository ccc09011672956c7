"""‖∂L/∂m_t‖ along a block, L being a method's own loss, summed over the positions of each sequence.

BPTT    m_t are the memories of the unrolled RNN, L = Σ_t CE(y_t, g(m_t)). What a late target says of an early memory
        passes through every step between them, so the norm may vanish or explode with t.
SMT     m_t are the labels. The teacher makes them side by side: L reaches each directly, by what is decoded from it
        and by the two transitions it takes part in, and the norm has no reason to depend on t.

    L = Σ_t [ λ_future · mean_s CE(y_s, D(m_t, x_{t+1}..x_s)) + λ_readout · CE(y_t, g(m_t))
              + λ_dynamics · MSE(f(m_{t-1}, x_t), m_t) + λ_pursuit · pursuit ]

with the objective's coefficients, at all positions instead of drawn ones, and with the ramp at 1. Two terms of the
objective are left out: the trunk's own loss does not depend on labels, and uniformity belongs to the whole set.
"""

from typing import Protocol

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.core.batch import Batch, Draws, Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.random import take


class Coefficients(Protocol):
    """What is read of `SupervisedMemoryTraining`."""

    future_weight: float
    readout_weight: float
    dynamics_weight: float
    pursuit_weight: float
    detach: str
    seed: int


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


def label_gradients(modules: Modules, batch: Batch, labels: Tensor, coefficients: Coefficients) -> Tensor:
    """SMT: ‖∂L/∂m_t‖ for the labels.

    Args:
        labels: m_t, (B, T, K, d).
        coefficients: the SMT objective.

    Returns:
        (B, T) float64, the norm over K·d in nats per unit of memory; 0 at padding.
    """
    labels = labels.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = coefficients.future_weight * _future(modules, batch, labels, coefficients.seed)
        readout, _ = losses.cross_entropy(modules.rnn.readout(labels), batch.targets, batch.asked)
        total = total + coefficients.readout_weight * readout
        total = total + _dynamics(modules.rnn, batch, labels, coefficients)
        (gradient,) = torch.autograd.grad(total, labels)
    return _norm(gradient)


def _norm(gradient: Tensor) -> Tensor:
    """(B, T, K, d) → (B, T), in float64: squares of what has vanished over hundreds of steps are no float32."""
    return gradient.double().flatten(2).norm(dim=2)


def _future(modules: Modules, batch: Batch, labels: Tensor, seed: int) -> Tensor:
    """The future predictor's loss from every eligible position: mean over the predicted targets, summed over t."""
    future, length = modules.future, batch.inputs.shape[1]
    eligible = future.eligible(batch.real, batch.asked)
    t = torch.arange(length, device=labels.device) * eligible  # elsewhere one that can be predicted from
    uniform = Draws(seed, 0, batch.ids)("future target", length * future.futures)
    s, mask = future.targets_for(t, batch.asked, uniform)
    mask = mask & eligible[..., None]
    total, count = losses.cross_entropy(future(labels, batch.inputs, t, s), take(batch.targets, s), mask)
    return losses.mean_of(total, count) * eligible.sum()


def _dynamics(rnn: RecurrentLanguageModel, batch: Batch, labels: Tensor, coefficients: Coefficients) -> Tensor:
    """The weighted dynamics losses of every transition, the first one from m_∅, summed over t."""
    initial = rnn.initial(len(labels)).to(labels.dtype)[:, None]
    before = labels[:, :-1]
    if coefficients.detach in ("source", "both"):
        before = before.detach()
    source = torch.cat((initial, before), dim=1)
    target = labels.detach() if coefficients.detach in ("target", "both") else labels
    inputs = rnn.cell.inputs(batch.inputs)
    prediction = rnn.cell(source.flatten(0, 1), inputs.flatten(0, 1)).view_as(labels)
    total = coefficients.dynamics_weight * losses.dynamics(prediction, target, batch.real)[0]
    if coefficients.pursuit_weight:
        pursuit = losses.pursuit(prediction, labels, batch.real) * batch.real.sum()
        total = total + coefficients.pursuit_weight * pursuit
    return total
