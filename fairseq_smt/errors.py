"""How the plugin's errors reach a user of the fairseq commands: as one sentence, not as a traceback."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from fairseq_smt.core.errors import ConfigurationError, require, require_positive

__all__ = ["ConfigurationError", "require", "require_positive", "of_command", "unwritable"]

OUTPUT_FLAGS = ("save_dir", "tensorboard_logdir", "log_file", "results_path")
"""fairseq's fields that say where something is written."""

SAID = {
    "Must specify batch size": "there is no batch size: give --batch-size or --max-tokens.",
    "optimizer is required!": "there is no optimizer: give --optimizer, such as --optimizer adam, and --lr.",
    "Seed must be between 0 and": "--seed must be a number from 0 to 4294967295.",
    "world size is": "--distributed-world-size is above the number of GPUs: start the processes by torchrun.",
    "Cannot combine --fp16 and --tpu": "--fp16 and --bf16 do not go together: give one of them.",
    "--batch-size cannot be larger than --buffer-size": "--batch-size is larger than --buffer-size, the number of "
    "prompts read at a time: give a --buffer-size as large.",
}
"""Beginnings of what fairseq and its libraries say, and the sentences that a user can act on."""


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


def find_sentence(error: BaseException | None) -> str | None:
    """The sentence of the `ConfigurationError` in a chain of exceptions, or one for an error that others raised.

    fairseq wraps what is raised while it loads a checkpoint; data workers and spawned processes hand over the text of
    their traceback as a message.
    """
    while error is not None:
        told = re.findall(r"^\S*ConfigurationError: (.*)", str(error), re.MULTILINE)
        if told or isinstance(error, ConfigurationError):
            return told[-1] if told else str(error)
        sentence = of_system(error) or of_libraries(error)
        if sentence:
            return sentence
        error = error.__cause__ or error.__context__
    return None


def of_system(error: BaseException) -> str | None:
    """A sentence for an error of the system about a file that a flag of this command names."""
    refused = re.findall(r"\[Errno (\d+)\] (.*?): '(.*?)'", str(error))
    if isinstance(error, OSError) and not refused:  # as fairseq says it of files that it may download
        refused = [
            (errno.ENOENT, "there is no such file", path) for path in re.findall("^file (.*) not found$", str(error))
        ]
    if not refused:
        return None
    number, reason, path = refused[-1]
    path = os.path.abspath(path)
    for flag, value in given():
        place = os.path.abspath(value)
        if flag.lstrip("-+").rpartition(".")[2].replace("-", "_") in OUTPUT_FLAGS:
            if os.path.commonpath((place, path)) == place:
                return unwritable(f"{flag} {value}", OSError(int(number), reason))
        elif path in (place, *map(os.path.abspath, re.split("[:,]", value))):
            return f"{flag} {value} cannot be read ({reason}): name another file."
    return None


def of_libraries(error: BaseException) -> str | None:
    """A sentence for an error of fairseq or of a library: ours where there is one, or its own if it names a flag."""
    message = " ".join(str(error).split("\n    full_key")[0].split())
    for words, sentence in SAID.items():
        if message.startswith(words):
            return sentence
    if isinstance(error, OverflowError) or "verflow" in message:
        large = [
            f"{flag} {value}" for flag, value in given() if re.fullmatch(r"-?\d+", value) and abs(int(value)) > 2**31
        ]
        return f"{large[0]} is larger than any number that can be used here: give a smaller one." if large else None
    if isinstance(error, ImportError) and message.startswith("Please install"):
        return f"{message}."
    if isinstance(error, ModuleNotFoundError) and find_spec(package := error.name.partition(".")[0]) is None:
        return f"the package {package} is missing: run pip install {package}."
    if isinstance(error, SyntaxError) and error.filename in ("<string>", "<unknown>"):
        named = [f"{flag} {value}" for flag, value in given() if error.text and error.text.strip() in value]
        return f"{named[0]} is not in Python's notation ({error.msg}): put it right." if named else None
    if isinstance(error, UnicodeDecodeError):
        byte = f"0x{error.object[error.start]:02X}"
        return f"a text that is read is not UTF-8 (it has the byte {byte}): convert it, for example by iconv -t utf-8."
    named = re.search(r"full_key: (\S+)", str(error))
    if type(error).__module__ == "omegaconf.errors" and named:
        flag = f"--{named[1].rpartition('.')[2].partition('[')[0].replace('_', '-')}"
        if "Missing mandatory value" in message:
            return f"{flag} is missing: give it."
        if "nterpolation" not in message and "${" not in message:
            return f"{flag} has a value that it cannot have ({message}): give another one."
        return f"{flag} has a ${{…}}, which stands for another setting, and there is none of that name: leave it out."
    if isinstance(error, (AssertionError, ValueError, NotImplementedError)) and re.search(
        r"(^|[\s`'\"])--[a-z]", message
    ):
        return message.partition(": {'_name'")[0]
    return None


def given() -> Iterator[tuple[str, str]]:
    """The flags of this command line, each with its value."""
    arguments = sys.argv[1:]
    yield from (argument.split("=", 1) for argument in arguments if "=" in argument)
    yield from (pair for pair in zip(arguments, arguments[1:], strict=False) if pair[0].startswith("--"))
