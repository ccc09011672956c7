"""How a command ends and what it shows: a sentence for an error, every character, and nothing once nobody reads.

FAIRSEQ_SMT_TRACEBACK=1 shows where an error came from.
"""

import locale
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fairseq_smt.errors import find_sentence, of_command

CLOSED = 141
"""Exit status of a command whose reader is gone, as a shell gives it."""


def show_all_characters() -> None:
    """Escape on the terminal what its encoding lacks, and write files in UTF-8, as Python does in the locale C."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # a stream of a notebook, or over another file than it was made for
            stream.reconfigure(errors="backslashreplace")
    if locale.getencoding().upper() != "UTF-8":
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


def ending(error: BaseException) -> str | None:
    """The sentence that a command ends with, empty where nobody would read it; None for an error that has none."""
    if isinstance(error, BrokenPipeError) and reader_is_gone():
        forget_output()
        return ""
    sentence = None if os.environ.get("FAIRSEQ_SMT_TRACEBACK") else find_sentence(error)
    return None if sentence is None else of_command(sentence)


@contextmanager
def command() -> Iterator[None]:
    """The work of a command that does without fairseq.

    Raises:
        SystemExit: with the sentence of an error, or when nobody reads any more.
    """
    show_all_characters()
    try:
        yield
        sys.stdout.flush()
    except Exception as error:
        sentence = ending(error)
        if sentence is None:
            raise
        raise SystemExit(sentence or CLOSED) from None


def reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(1, 0)
    return bool(poll.poll(0))


def forget_output() -> None:
    """Let Python flush stdout into nothing at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def flush() -> None:
    """Flush stdout at the end of a process, without Python's complaint that nobody reads it."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):  # ValueError: it is closed
        forget_output()
