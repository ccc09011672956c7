"""Schedules of checkpoints written before these were kept in the extra state."""

import fairseq  # noqa: F401
import pytest
import torch
from omegaconf import OmegaConf

import fairseq_smt
from tests.support.models import build

fairseq_smt.register()
from fairseq_smt.compat.resuming import bring_up_to_date  # noqa: E402

UNIT = 1 << 20


def earlier(buffer: tuple[int, int, int], updates: int = 30, **criterion) -> dict:
    """A checkpoint of before, after `updates` updates."""
    cfg = {"task": {"curriculum_updates": -1}, "criterion": criterion, "optimization": {"max_update": 100}}
    return {
        "cfg": OmegaConf.create(cfg),
        "model": {"decoder.rnn.initial.weight": torch.zeros(1), "schedule": torch.tensor(buffer)},
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {},
    }


@pytest.mark.parametrize(
    "state, found",
    [
        (earlier((30, 2, 17), dynamics_ramp_updates=-1), {"dynamics_wait": {"streak": 2, "started": 17}}),
        (earlier((30, 1, -1), dynamics_ramp_updates=7), {"dynamics_wait": {"streak": 1, "started": -1}}),
        (earlier((30, 5 * UNIT // 2, -1)), {"chunk": {"length": 2.5}}),
        (earlier((0, 0, -1), dynamics_ramp_updates=-5), {}),
        (earlier((600, 10, 300)), {}),
    ],
    ids=["a ramp that started", "one that waits", "a chunk", "nothing observed", "of the stage before"],
)
def test_the_buffer_of_the_model_moves(state, found):
    ramp = state["cfg"].criterion.get("dynamics_ramp_updates")
    spans = {"curriculum_updates": {"updates": 50}}
    spans |= {} if ramp is None else {"dynamics_ramp_updates": {"updates": 50 if ramp < 0 else ramp}}
    bring_up_to_date(state)
    assert state["extra_state"] == {"schedules": spans | found} and "schedule" not in state["model"]
    assert all(
        type(x) in (int, float) for numbers in state["extra_state"]["schedules"].values() for x in numbers.values()
    )


def test_todays_checkpoint_and_one_of_another_model_stay_as_they_are():
    state = earlier((30, 2, 17)) | {"extra_state": {"schedules": {"chunk": {"length": 3.0}}}}
    bring_up_to_date(state)
    assert state["extra_state"] == {"schedules": {"chunk": {"length": 3.0}}}
    foreign = {"cfg": None, "args": object(), "model": {"schedule": torch.ones(1)}, "extra_state": {}}
    bring_up_to_date(foreign)
    assert foreign["model"] == {"schedule": torch.ones(1)} and foreign["extra_state"] == {}


def test_a_model_loads_a_state_with_the_buffer():
    model = build()
    state = model.state_dict()
    assert "schedule" not in state
    model.load_state_dict(state | {"schedule": torch.tensor([5, 1, -1])})
