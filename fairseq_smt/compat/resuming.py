"""What schedules remember, and carried memory, restored when training resumes.

fairseq saves what a task's `get_checkpoint_dict` returns, and gives it back under conditions that are not ours.
"""

from typing import Any

from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from fairseq_smt.replacing import replace


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
