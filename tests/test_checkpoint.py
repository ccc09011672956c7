"""What the model keeps of its schedules in a checkpoint."""

import fairseq  # noqa: F401
import pytest
import torch

import fairseq_smt
from fairseq_smt.core.schedules import WaitingRamp
from fairseq_smt.data.probes import PROBES, probe_dictionary

fairseq_smt.register()


@pytest.mark.parametrize("head", ["projection", "none"])
def test_the_schedule_travels_with_the_model_and_may_be_absent(head):
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig

    def build() -> SmtLanguageModel:
        return SmtLanguageModel(SmtLanguageModelConfig(memory_head=head), probe_dictionary(PROBES["retrieval"](8)))

    trained, model = build(), build()
    state = (2**24 + 1, 3, 2**24 - 1)  # float16 and float32 could not hold these
    trained.schedule.copy_(torch.tensor(state))
    model.load_state_dict(trained.half().state_dict())
    assert tuple(model.schedule.tolist()) == state

    first = {name: value for name, value in trained.state_dict().items() if name != "schedule"}
    model.load_state_dict(first)
    assert tuple(model.schedule.tolist()) == WaitingRamp.INITIAL
