"""How the plugin's errors reach a user of the fairseq commands: as one sentence, not as a traceback."""

import errno
import os
import re
import sys

from fairseq_smt.core.errors import ConfigurationError, require, require_positive

__all__ = ["ConfigurationError", "require", "require_positive", "of_command", "unwritable"]

OUTPUT_FLAGS = ("save_dir", "tensorboard_logdir", "log_file", "results_path")
"""fairseq's fields that say where something is written."""


def of_command(sentence: object) -> str:
    """A sentence behind the name of the command that runs, as argparse puts it before its own."""
    return f"{os.path.basename(sys.argv[0])}: error: {sentence}"


def unwritable(what: str, error: OSError) -> str:
    """A sentence on a place that cannot be written."""
    remedy = "change its permissions"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        remedy = "remove what stands in its way"
    elif error.errno == errno.ENOENT:
        remedy = "create its folder"
    return f"{what} cannot be written ({error.strerror or error}): {remedy}, or name another place."


OF_FAIRSEQ = {
    "Must specify batch size": "there is no batch size: give --batch-size or --max-tokens.",
    "optimizer is required!": "there is no optimizer: give --optimizer, such as --optimizer adam, and --lr.",
}
"""What fairseq says, as sentences that name the flag."""


def find_sentence(error: BaseException | None) -> str | None:
    """The sentence of the `ConfigurationError` in a chain of exceptions, or ours for what fairseq or the system said.

    fairseq wraps what is raised while it loads a checkpoint; data workers and spawned processes hand over the text of
    their traceback as a message.
    """
    while error is not None:
        told = re.findall(r"^\S*ConfigurationError: (.*)", str(error), re.MULTILINE)
        if told or isinstance(error, ConfigurationError):
            return told[-1] if told else str(error)
        refused = re.findall(r"\[Errno (\d+)\] (.*?): '(.*?)'", str(error))
        flag = refused and output_flag(refused[-1][2])
        if flag:
            return unwritable(flag, OSError(int(refused[-1][0]), refused[-1][1]))
        for words, sentence in OF_FAIRSEQ.items():
            if isinstance(error, (AssertionError, ValueError)) and str(error).startswith(words):
                return sentence
        error = error.__cause__ or error.__context__
    return None


def output_flag(path: str) -> str | None:
    """The flag of this command, and what it was given, under which a path lies that is to be written; None without."""
    arguments = sys.argv[1:]
    pairs = [pair for pair in zip(arguments, arguments[1:], strict=False) if pair[0].startswith("--")]
    for flag, value in [argument.split("=", 1) for argument in arguments if "=" in argument] + pairs:
        field = flag.lstrip("-+").rpartition(".")[2].replace("-", "_")
        place = os.path.abspath(value)
        if field in OUTPUT_FLAGS and os.path.commonpath((place, os.path.abspath(path))) == place:
            return f"{flag} {value}"
    return None
