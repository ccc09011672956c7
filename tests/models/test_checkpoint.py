"""What the model keeps in a checkpoint beside its weights: its teacher's fingerprint."""

import fairseq  # noqa: F401
import pytest
import torch

import fairseq_smt
from fairseq_smt.core.fingerprints import UNKNOWN, mark, pack, unpack
from fairseq_smt.core.teacher import fingerprint
from fairseq_smt.data.probe_dataset import probe_dictionary
from fairseq_smt.data.probes import PROBES
from tests.support.models import averaged, build

fairseq_smt.register()


def written(model) -> int:
    """The fingerprint in the model's checkpoint."""
    return unpack(model.state_dict()["teacher_fingerprint"])


def after_training(train: str = "all", source=None):
    """A model after three updates that changed whatever it trains, from the start or from another's checkpoint."""
    model = build(train=train)
    if source is not None:
        model.load_state_dict(source.state_dict())
    model(None, objective=lambda modules: None)
    model.set_num_updates(3)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return model


def test_a_fresh_model_has_no_trained_teacher():
    model = build()
    assert written(model) == 0 and not model.has_trained_teacher
    model.load_state_dict(build().state_dict())
    assert not model.has_trained_teacher


def test_training_a_teacher_writes_its_fingerprint():
    smt = after_training()
    assert written(smt) == fingerprint(smt.teacher) > 0
    model = build(train="rnn")
    model.load_state_dict(smt.state_dict())
    assert model.has_trained_teacher and unpack(model.teacher_fingerprint) == fingerprint(model.teacher) == written(smt)


def test_a_frozen_teacher_keeps_its_fingerprint_and_a_trained_one_does_not():
    smt = after_training()
    dmt = after_training("rnn", smt)
    assert written(dmt) == written(smt) == fingerprint(dmt.teacher)
    more = after_training("all", dmt)
    assert written(more) == fingerprint(more.teacher) != written(smt)


def test_a_resumed_teacher_is_fingerprinted_anew_even_if_loaded_before_any_update():
    smt = after_training()
    resumed = build()
    resumed.load_state_dict(smt.state_dict())
    assert written(resumed) == written(smt)


def test_an_rnn_without_its_teacher_keeps_the_name_of_the_teacher_that_taught_it():
    smt = after_training()
    alone = build("none")
    alone.load_state_dict(smt.state_dict())
    assert written(alone) == written(smt) and not alone.has_trained_teacher


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_fingerprint_of_weights_in_half_precision_is_that_of_their_own_checkpoint(dtype):
    smt = after_training().to(dtype)
    own = written(smt)
    assert own == fingerprint(smt.teacher)
    for model in (build(train="rnn"), build(train="rnn").to(dtype)):
        model.load_state_dict(smt.state_dict())
        assert fingerprint(model.teacher) == own == unpack(model.teacher_fingerprint)


def test_an_update_without_an_objective_trains_no_teacher():
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig

    model = SmtLanguageModel(SmtLanguageModelConfig(), probe_dictionary(PROBES["retrieval"](8)))
    model(torch.zeros(1, 4, dtype=torch.long))
    model.set_num_updates(3)
    assert written(model) == 0


def test_a_fingerprint_outlives_an_average():
    for value in (0, 1, 2**62 + 12345, 2**63 - 1):
        packed = pack(value)
        assert packed.dtype == torch.int64 and unpack(packed) == value
        assert unpack(averaged([{"x": packed}] * 3000)["x"]) == value
        marked = packed.clone()
        mark(marked)
        assert unpack(marked) == (value or UNKNOWN)
    values = [fingerprint({"w": torch.tensor(float(i))}) for i in range(4)]
    assert unpack(averaged([{"x": pack(v)} for v in values])["x"]) == UNKNOWN
    assert unpack(averaged([{"x": pack(v)} for v in (0, values[0])])["x"]) == UNKNOWN


@pytest.mark.parametrize("number", [2, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_average_of_a_run_has_a_trained_teacher_of_its_own(number, dtype):
    """It loads, with or without its teacher, and what is started from it knows the teacher's own fingerprint."""
    runs = [after_training().to(dtype).state_dict() for _ in range(number)]
    average = averaged(runs)
    model, alone = build(train="rnn"), build("none")
    model.load_state_dict(average)
    alone.load_state_dict(average)
    assert model.has_trained_teacher and written(model) == fingerprint(model.teacher) == written(alone)
    assert written(model) not in [unpack(state["teacher_fingerprint"]) for state in runs]
    torch.testing.assert_close(
        model.rnn.initial.weight, sum(s["decoder.rnn.initial.weight"].float() for s in runs) / number
    )


def test_an_average_of_students_of_one_frozen_teacher_keeps_its_fingerprint():
    smt = after_training()
    students = [after_training("rnn", smt).state_dict() for _ in range(3)]
    model = build(train="rnn")
    model.load_state_dict(averaged(students))
    assert written(model) == written(smt)
