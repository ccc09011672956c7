"""What the model keeps in a checkpoint beside its weights: its teacher's fingerprint."""

import fairseq  # noqa: F401
import pytest
import torch

import fairseq_smt
from fairseq_smt.core.teacher import fingerprint
from fairseq_smt.data.probe_dataset import probe_dictionary
from fairseq_smt.data.probes import PROBES

fairseq_smt.register()


def build(head: str = "projection", train: str = "all"):
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig

    sizes = dict(memory_tokens=2, memory_width=8, cell_hidden=8, trunk_width=16, trunk_layers=1, future_width=8)
    config = SmtLanguageModelConfig(memory_head=head, train_part=train, **sizes)
    return SmtLanguageModel(config, probe_dictionary(PROBES["retrieval"](8)))


def written(model) -> int:
    """The fingerprint in the model's checkpoint."""
    return int(model.state_dict()["teacher_fingerprint"])


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
    assert model.has_trained_teacher and int(model.teacher_fingerprint) == fingerprint(model.teacher) == written(smt)


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
        assert fingerprint(model.teacher) == own == int(model.teacher_fingerprint)


def test_a_checkpoint_without_fingerprint_loads_as_of_no_trained_teacher():
    first = {k: v for k, v in after_training().state_dict().items() if k != "teacher_fingerprint"}
    model = build()
    model.load_state_dict(first)
    assert int(model.teacher_fingerprint) == 0 and not model.has_trained_teacher


def test_an_update_without_an_objective_trains_no_teacher():
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig

    model = SmtLanguageModel(SmtLanguageModelConfig(), probe_dictionary(PROBES["retrieval"](8)))
    model(torch.zeros(1, 4, dtype=torch.long))
    model.set_num_updates(3)
    assert model.state_dict()["teacher_fingerprint"] == 0
