"""The retrieval probe, and the proof that the encoder carries long-range memory."""

import torch

from fairseq_smt.core.batch import Modules
from fairseq_smt.core.future import build_future
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.teacher import Teacher
from fairseq_smt.data.retrieval import Retrieval


def test_sequences_hold_one_value_and_end_in_the_query():
    probe = Retrieval(length=16)
    batch = probe.batch(list(range(50)))
    is_value = (batch.inputs >= 1) & (batch.inputs <= probe.values)
    assert is_value.sum(1).eq(1).all() and not is_value[:, -1].any()
    assert torch.equal(batch.inputs[is_value], batch.targets[:, -1])
    assert batch.inputs[:, -1].eq(0).all() and batch.asked.sum() == 50


def test_sequences_depend_on_seed_and_index_only():
    one, other = Retrieval(16, seed=1), Retrieval(16, seed=2)
    assert torch.equal(one.batch([3]).inputs, one.batch([4, 3]).inputs[1:])
    assert not torch.equal(one.batch([3]).inputs, one.batch([4]).inputs)
    assert not torch.equal(one.batch([3]).inputs, other.batch([3]).inputs)


def test_teacher_memory_holds_the_value_after_64_steps():
    torch.manual_seed(0)
    probe = Retrieval(length=64)
    sizes = dict(memory_tokens=4, memory_width=32)
    modules = Modules(
        RecurrentLanguageModel(probe.vocabulary, **sizes, hidden=128),
        Teacher(probe.vocabulary, **sizes, width=64, layers=2, heads=4),
        build_future("far", probe.vocabulary, **sizes, width=32, layers=1, heads=1, futures=1),
    )
    parameters = [p for m in (modules.rnn, modules.teacher, modules.future) for p in m.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3, betas=(0.9, 0.95), weight_decay=0.01)
    objective = SupervisedMemoryTraining(dynamics_weight=0.05, future_positions=16, readout_positions=1, horizon=64)
    accuracy = 0.0
    for update in range(1500):
        batch = probe.batch(list(range(update * 16, update * 16 + 16)))
        terms = objective(modules, batch, update=update, ramp=update / 1500)
        optimizer.zero_grad()
        terms.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if update % 100 == 99:
            with torch.no_grad():
                held_out = probe.batch(list(range(10**6, 10**6 + 512)))
                correct, count = objective(modules, held_out, training=False).measures["ceiling_accuracy"]
            accuracy = float(correct / count)
            if accuracy >= 0.995:
                break
    assert accuracy >= 0.99
