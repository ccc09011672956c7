"""What fairseq lacks on today's Python, torch and hydra; importing this package supplies it.

All that an import of the plugin changes outside of it, by place; tests/test_replacing.py finds any that is missing.
"Until" says when a change can go. `fairseq_smt.console` has the table of what changes in commands only.

fairseq.utils.import_user_module
    `fairseq_smt.user_modules`: tells that this process is one of a command. Until fairseq says so itself.
fairseq.options.parse_args_and_arch
    `fairseq_smt.models.defaults`: an architecture brings an optimizer and batch size. Until fairseq's can.
fairseq.registry.REGISTRIES
    `encoders`: configs of `--bpe characters` and `--bpe bytes`, without which commands refuse both. Until it has them.
fairseq.checkpoint_utils.load_checkpoint_to_cpu
    `checkpoints`: checksums and sentences. Until torch compares checksums and fairseq names the file.
fairseq.trainer.Trainer.load_checkpoint
    `averaging`: `--store-ema` from a checkpoint without an average. Until fairseq starts one from the model.
    `resuming`: schedules go on where they were. Until fairseq restores `task.state` in training.
fairseq.checkpoint_utils.save_checkpoint
    `resuming`: carried memory of all processes. Until fairseq tells the tasks of all that a checkpoint is written.
fairseq.models.ema.EMA
    `averaging`: integer buffers are copied. Until fairseq's average does not multiply them.
fairseq.checkpoint_utils.torch_persistent_save
fairseq.file_io.PathManager.copy
    `saving`: files are whole or absent. Until fairseq writes beside the old file and renames.
fairseq.logging.progress_bar.TensorboardProgressBarWrapper._log_to_tensorboard
    `saving`: a full disk ends the logging, not the training. Until fairseq catches that.
fairseq.trainer.Trainer.clip_grad_norm
    `finite`: all processes end alike on gradients that are not finite. Until fairseq ends without another forward.
fairseq.optim.lr_scheduler.tri_stage_lr_scheduler.TriStageLRSchedule.__init__
    `learning_rates`: phases shorter than an update. Until fairseq does not divide by their length.
fairseq.models.distributed_fairseq_model.DistributedDataParallel
    `parallel`: `--ddp-backend pytorch_ddp` on CPU. Until fairseq gives no device numbers there.
fairseq.data.iterators.BackgroundConsumer
atexit
    `threads`: no abort at the end of a process. Until fairseq joins its threads.
torch._weights_only_unpickler._marked_safe_globals_set
    `loading`: containers in checkpoints that other processes unpickle. Until fairseq allows them.
torch.optim.optimizer.Optimizer.add_param_group
torch.optim.optimizer.Optimizer.load_state_dict
torch.optim.optimizer.Optimizer.state_dict
torch.optim.optimizer.Optimizer.zero_grad
    `compilation`: optimizers load no compiler. Until torch's do not.
"""

# ruff: noqa: E402, F401

from fairseq_smt.compat import versions

versions.check()  # before anything that needs them

from fairseq_smt.compat import (
    averaging,
    checkpoints,
    compilation,
    encoders,
    finite,
    learning_rates,
    loading,
    parallel,
    resuming,
    saving,
    threads,
)
