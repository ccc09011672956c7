"""What fairseq's commands and ours get, and a notebook does not; importing this package installs it.

`--user-dir` imports it, also after the plugin (`user_modules.py`), and so do our own commands. The table is
as that of `fairseq_smt.compat`; it can go with the commands.

sys.excepthook
os.environ.HYDRA_FULL_ERROR
    `errors`: a sentence instead of a traceback, hydra leaves that to the hook.
threading.excepthook
    `errors`: no traceback of TensorBoard's thread, whose error the main thread has.
fairseq.checkpoint_utils.load_checkpoint
    `checkpoints`: sentences for checkpoints that a run cannot start from; takes the lock, leaves finished runs alone.
fairseq.checkpoint_utils.load_model_ensemble_and_task
    `checkpoints`: a sentence for one that is absent, a warning for another task.
fairseq.checkpoint_utils.verify_checkpoint_directory
    `starting`: folders that cannot be written are told at once.
atexit
    `starting`: the lock is let go.
    `errors`: a quiet end where nobody reads stdout any more.
fairseq.trainer.Trainer.__init__
    `summary`: what a run trains, on what and where it saves.
fairseq.trainer._catalog_shared_params
warnings.filters
logging.getLogger.fairseq.tasks.fairseq_task
logging.getLogger.fairseq_cli.train
logging.getLogger.hydra.core.utils
    `quiet`: no messages that a user can do nothing about.

The C library is told to keep freed memory (`fairseq_smt/core/allocation.py`).
"""

# ruff: noqa: F401

from fairseq_smt.console import errors  # isort: skip  before anything that can fail
from fairseq_smt.console import checkpoints, quiet, starting, summary
from fairseq_smt.core.allocation import keep_freed_memory

keep_freed_memory()
