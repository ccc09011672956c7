"""A field of a dataclass that flags are made of is read by some part: none is a flag that does nothing."""

from dataclasses import fields

import pytest

from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.future import FUTURES, build_future
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import ChunkedBackpropagation, DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.core.teacher import HEADS, build_teacher
from tests.support.toy import V, make_batch, make_modules


def reading(config: type, read: set[str]) -> type:
    """The dataclass, noting the attributes that are read."""

    class Noting(config):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    return Noting


def test_every_size_is_read():
    read = set()
    rnn, teacher, future = (reading(config, read) for config in (RnnConfig, TeacherConfig, FutureConfig))
    for cell in CELLS:
        RecurrentLanguageModel(V, rnn(cell=cell))
    for head in HEADS:
        build_teacher(V, rnn(), teacher(memory_head=head))
    for kind in FUTURES:
        build_future(V, rnn(), future(future=kind))
    assert {f.name for config in (RnnConfig, TeacherConfig, FutureConfig) for f in fields(config)} <= read


@pytest.mark.parametrize("kind", [SupervisedMemoryTraining, DaggerMemoryTraining, ChunkedBackpropagation])
def test_every_option_of_an_objective_is_read_in_a_step(kind):
    read = set()
    chunks = {} if kind is SupervisedMemoryTraining else {"chunk": 4}
    objective = reading(kind, read)(**chunks)
    read.clear()  # of the checks
    for head in ("projection", "window"):
        objective(make_modules(head=head), make_batch())
    if kind is DaggerMemoryTraining:
        reading(kind, read)(rollout="warm")(make_modules(), make_batch())
    objective(make_modules(), make_batch(), training=False)
    assert {f.name for f in fields(kind)} - read == set()
