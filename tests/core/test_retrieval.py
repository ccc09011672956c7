"""The proof that the encoder carries long-range memory, on the retrieval probe."""

import math

import torch

from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.schedules import LengthCurriculum, Ramp, Span, WaitingRamp
from fairseq_smt.core.teacher import build_teacher
from fairseq_smt.data.probes.retrieval import Retrieval


def test_teacher_memory_holds_the_value_after_128_steps():
    """With the recipe for memory tasks: a length curriculum, and transition losses that wait for the future loss.

    The teacher's accuracy alone would not do: attention can look the value up when it is asked for. The far predictor
    sees memories from before the query; knowing the value from its position on gives 3 · 64 / 127 ≈ 1.5 bits.
    """
    torch.manual_seed(0)
    probe = Retrieval(length=128)
    sizes = RnnConfig(memory_width=32, cell_hidden=128)
    modules = Modules(
        RecurrentLanguageModel(probe.vocabulary, sizes),
        build_teacher(probe.vocabulary, sizes, TeacherConfig("projection", trunk_width=64)),
        build_future(probe.vocabulary, sizes, FutureConfig("far", futures=1, future_width=32)),
    )
    parameters = [p for m in (modules.rnn, modules.teacher, modules.future) for p in m.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3, betas=(0.9, 0.95), weight_decay=0.01)
    objective = SupervisedMemoryTraining(
        dynamics_weight=0.05, pursuit_weight=0.3, future_positions=16, readout_positions=1, horizon=128
    )
    curriculum = LengthCurriculum(start=8, span=Span(150), full=128)
    ramp = WaitingRamp(Ramp(Span(200)), below=2.5, patience=10)

    def bits(measures) -> float:
        total, count = measures["future_nll"]
        return float(total / count) / math.log(2)

    for update in range(400):
        batch = probe.batch(list(range(update * 16, update * 16 + 16)), curriculum.length(update))
        terms = objective(modules, batch, update=update, ramp=ramp.factor(update))
        optimizer.zero_grad()
        terms.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        ramp.observe(update + 1, bits(terms.measures))
        if update >= curriculum.span.updates and update % 50 == 49:
            with torch.no_grad():
                held_out = probe.batch(list(range(10**6, 10**6 + 512)))
                measures = objective(modules, held_out, training=False).measures
            correct, count = measures["ceiling_accuracy"]
            accuracy, future = float(correct / count), bits(measures)
            if accuracy >= 0.99 and future < 1.8:
                break
    assert accuracy >= 0.99 and future < 1.8
    assert ramp.factor(update + 1) > 0
