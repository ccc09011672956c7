"""Errors that end fairseq's commands, and those of ours that use fairseq, in one sentence."""

import atexit
import os
import sys
import threading
from types import TracebackType

from fairseq_smt.replacing import replace
from fairseq_smt.terminal import ending, flush, show_all_characters


def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's hook, which prints the sentence alone where there is one."""
    sentence = ending(error)
    if sentence is None:
        _hook(kind, error, trace)
    elif sentence:
        print(sentence, file=sys.stderr)


def hook_of_threads(failure: threading.ExceptHookArgs) -> None:
    """Python's hook; TensorBoard's thread hands its errors to the main one (`compat/saving.py`)."""
    if not type(failure.thread).__module__.startswith("tensorboard."):
        _thread_hook(failure)


_hook = replace(sys, "excepthook", hook)
_thread_hook = replace(threading, "excepthook", hook_of_threads)
atexit.register(flush)
show_all_characters()
os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # otherwise hydra prints a traceback itself, and no hook is called
