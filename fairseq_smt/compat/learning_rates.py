"""`--lr-scheduler tri_stage` of few updates, and what it cannot work with as sentences."""

import math

from fairseq.optim.lr_scheduler.tri_stage_lr_scheduler import TriStageLRSchedule

from fairseq_smt.errors import require
from fairseq_smt.replacing import replace


def build(schedule: TriStageLRSchedule, cfg, optimizer) -> None:
    """fairseq's `__init__`, for which the decay may also be shorter than an update.

    Raises:
        ConfigurationError: for phases that are no shares of a number of updates, or a rate that falls to nothing.
    """
    if cfg.phase_ratio is not None:
        require(cfg.max_update > 0, "--phase-ratio gives shares of all updates: give --max-update, too.")
        require(
            math.isclose(sum(cfg.phase_ratio), 1) and len(cfg.phase_ratio) == 3,
            f"--phase-ratio must be three shares that add up to 1, not {tuple(cfg.phase_ratio)}.",
        )
        warmup, hold, decay = (int(cfg.max_update * share) for share in cfg.phase_ratio)
        cfg = cfg.copy()
        cfg.phase_ratio = None
        cfg.warmup_steps, cfg.hold_steps, cfg.decay_steps = warmup, hold, max(decay, 1)
    require(
        cfg.decay_steps > 0 and cfg.final_lr_scale > 0,
        f"--lr-scheduler tri_stage needs positive --decay-steps and --final-lr-scale, not {cfg.decay_steps} and "
        f"{cfg.final_lr_scale}; or give --phase-ratio.",
    )
    _build(schedule, cfg, optimizer)


_build = replace(TriStageLRSchedule, "__init__", build)
