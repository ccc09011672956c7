"""What one training step does, in this process, with flags as on the command line."""

import torch

from tests.support.commands import TRAIN


def stage(data, *flags, checkpoint=None):
    """(model, criterion, sample) for the flags of a fairseq-train line; the model holds the checkpoint of a folder."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    import fairseq_smt

    fairseq_smt.register()
    line = [str(x) for x in (data, *TRAIN, *flags)]
    args = options.parse_args_and_arch(options.get_training_parser(), line)
    config = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(config.task)
    model = task.build_model(config.model)
    criterion = task.build_criterion(config.criterion)
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint / "checkpoint_last.pt", weights_only=False)["model"])
    task.load_dataset("valid")
    sample = next(task.get_batch_iterator(task.dataset("valid"), max_sentences=4).next_epoch_itr(shuffle=False))
    return model, criterion, sample
