"""Errors that end a command in one sentence; FAIRSEQ_SMT_TRACEBACK=1 shows where they came from."""

import os
import sys
import threading
from types import TracebackType

from fairseq_smt.errors import find_sentence, of_command
from fairseq_smt.replacing import replace


def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's hook, which prints the sentence alone where there is one."""
    sentence = find_sentence(error)
    if sentence is None or os.environ.get("FAIRSEQ_SMT_TRACEBACK"):
        _hook(kind, error, trace)
    else:
        print(of_command(sentence), file=sys.stderr)


def hook_of_threads(failure: threading.ExceptHookArgs) -> None:
    """Python's hook; TensorBoard's thread hands its errors to the main one (`compat/saving.py`)."""
    if not type(failure.thread).__module__.startswith("tensorboard."):
        _thread_hook(failure)


_hook = replace(sys, "excepthook", hook)
_thread_hook = replace(threading, "excepthook", hook_of_threads)
os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # otherwise hydra prints a traceback itself, and no hook is called
