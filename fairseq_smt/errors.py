"""How the plugin's errors reach a user of the fairseq commands: as one sentence, not as a traceback."""

import os
import re
import sys
from types import TracebackType

from fairseq_smt.core.errors import ConfigurationError, require, require_positive

__all__ = ["ConfigurationError", "require", "require_positive", "install_excepthook"]

OF_FAIRSEQ = {
    "Must specify batch size": "there is no batch size: give --batch-size or --max-tokens.",
    "optimizer is required!": "there is no optimizer: give --optimizer, such as --optimizer adam, and --lr.",
}
"""What fairseq says, as sentences that name the flag."""


def find_sentence(error: BaseException | None) -> str | None:
    """The sentence of the `ConfigurationError`, or of fairseq's own, in a chain of exceptions; None without one.

    fairseq wraps what is raised while it loads a checkpoint; data workers and spawned processes hand over the text of
    their traceback as a message.
    """
    while error is not None:
        told = re.findall(r"^\S*ConfigurationError: (.*)", str(error), re.MULTILINE)
        if told or isinstance(error, ConfigurationError):
            return told[-1] if told else str(error)
        for words, sentence in OF_FAIRSEQ.items():
            if isinstance(error, (AssertionError, ValueError)) and str(error).startswith(words):
                return sentence
        error = error.__cause__ or error.__context__
    return None


def install_excepthook() -> None:
    """End on a `ConfigurationError` with its sentence alone; FAIRSEQ_SMT_TRACEBACK=1 shows where it came from."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sentence = find_sentence(error)
        if sentence is None or os.environ.get("FAIRSEQ_SMT_TRACEBACK"):
            previous(kind, error, trace)
        else:
            print(f"{os.path.basename(sys.argv[0])}: error: {sentence}", file=sys.stderr)

    sys.excepthook = hook
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # otherwise hydra prints a traceback itself, and no hook is called
