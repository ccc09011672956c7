"""The end of a training whose gradients are not finite: in one sentence, and in all processes alike.

The norm is that of the gradients after they were summed over processes, so that all of them come to the same end.
fairseq raises after it too, but then runs the update again to look for the module, and ends in a traceback.
"""

import torch
from fairseq.distributed import utils as distributed
from fairseq.trainer import Trainer

from fairseq_smt.core.interface import on_host
from fairseq_smt.errors import ConfigurationError
from fairseq_smt.replacing import replace

REMEDY = "lower --lr, raise warm-up or set --clip-norm, and restart from the last checkpoint."


def clip_grad_norm(trainer: Trainer, *args, **kwargs) -> torch.Tensor:
    """`Trainer.clip_grad_norm`; where amp or fp16 skips an update, it still does.

    Raises:
        ConfigurationError: for a norm that is not finite, or a loss scale that cannot fall further.
    """
    try:
        norm = _clip_grad_norm(trainer, *args, **kwargs)
    except OverflowError as error:
        if torch.cuda.is_available():
            raise
        raise ConfigurationError(
            "a gradient is too large for float16, and on a CPU fairseq cannot go on without this update: give --bf16, "
            "or a smaller --batch-size or --fp16-init-scale."
        ) from error
    except FloatingPointError as error:
        smallest = trainer.cfg.common.min_loss_scale
        raise ConfigurationError(
            f"the gradients are not finite at the smallest loss scale, --min-loss-scale {smallest}: {REMEDY}"
        ) from error
    if not trainer.cfg.common.amp and not torch.isfinite(norm).all():
        explain(trainer)
        raise ConfigurationError(f"the gradients are not finite: {REMEDY}")
    return norm


def explain(trainer: Trainer) -> None:
    """Raise for the loss of the update under way if it is not finite, which no process may have seen but one."""
    check, logs = getattr(trainer.get_criterion(), "check_finite", None), getattr(trainer.task, "logs", None)
    if check is None or not logs:
        return
    log = on_host(logs)
    if trainer.use_distributed_wrapper:
        log = on_host([distributed.all_reduce_dict(log, trainer.device, trainer.data_parallel_process_group)])
    check(log)


_clip_grad_norm = replace(Trainer, "clip_grad_norm", clip_grad_norm)
