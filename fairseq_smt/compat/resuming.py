"""What schedules remember, and carried memory, restored when training resumes.

fairseq saves what a task's `get_checkpoint_dict` returns, and gives it back under conditions that are not ours.
"""

from typing import Any

from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from fairseq_smt.core.schedules import Span
from fairseq_smt.replacing import replace

SPANS = {"task": "curriculum_updates", "criterion": "dynamics_ramp_updates"}
"""Flags of schedules over a span, by the part of the configuration that holds them."""

UNIT = 1 << 20
"""Earlier checkpoints hold the chunk length as a multiple of 1 / UNIT."""


def bring_up_to_date(state: dict[str, Any]) -> None:
    """Give an earlier checkpoint the `schedules` of one written today.

    It has a buffer of the model instead: last observed update, updates in a row below or chunk length, and update of
    the start or -1. A buffer whose last update is not the checkpoint's was left by an earlier stage.
    """
    buffer = state["model"].pop("schedule", None) if "decoder.rnn.initial.weight" in state["model"] else None
    if "schedules" in state["extra_state"]:
        return
    cfg = state.get("cfg") or {}
    given = {name: (cfg.get(part) or {}).get(name) for part, name in SPANS.items()}
    begun = {
        name: Span(max(int(updates), -1), int(cfg["optimization"]["max_update"])).state_dict()
        for name, updates in given.items()
        if updates is not None
    }
    if buffer is not None:
        last, value, started = buffer.tolist()
        if last == state["optimizer_history"][-1].get("num_updates"):
            chunk, wait = {"length": value / UNIT}, {"streak": value, "started": started}
            begun |= {"chunk": chunk} if value >= UNIT else {"dynamics_wait": wait}
    if begun:
        state["extra_state"]["schedules"] = begun


def load_checkpoint(trainer: Trainer, *args, **kwargs) -> dict[str, Any] | None:
    """`Trainer.load_checkpoint`; a run that goes on, and none that begins anew, hands its task the schedules."""
    extra_state = _load_checkpoint(trainer, *args, **kwargs)
    if extra_state is not None and trainer.get_num_updates() > 0 and hasattr(trainer.task, "resume_schedules"):
        trainer.task.resume_schedules(extra_state.get("schedules", {}))
    if extra_state is not None and trainer.get_num_updates() > 0 and hasattr(trainer.task, "resume_memories"):
        trainer.task.resume_memories(extra_state.get("carried_memory"))
    return extra_state


def save_checkpoint(cfg: Any, trainer: Trainer, *args, **kwargs) -> Any:
    """fairseq's function, which every process calls and one goes on in: carried memories are gathered there first."""
    if not cfg.no_save and hasattr(trainer.task, "gather_memories"):
        trainer.task.gather_memories(trainer.data_parallel_process_group)
    return _save_checkpoint(cfg, trainer, *args, **kwargs)


_load_checkpoint = replace(Trainer, "load_checkpoint", load_checkpoint)
_save_checkpoint = replace(checkpoint_utils, "save_checkpoint", save_checkpoint)
