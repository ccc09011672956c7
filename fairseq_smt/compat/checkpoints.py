"""Damaged, foreign and absent checkpoints as a sentence that names the file."""

import errno
import os
import re
import zipfile
from typing import Any

from fairseq import checkpoint_utils

from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.replacing import replace

last_read: str | None = None
"""Path of the checkpoint that this process read last."""


def the_checkpoint() -> str:
    """How sentences call the checkpoint being loaded; processes that have it from another one do not know its name."""
    return f"the checkpoint {last_read}" if last_read else "the checkpoint"


def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """fairseq's function, after a comparison of every byte with the file's checksums.

    Raises:
        ConfigurationError: for a file that is absent, damaged, or no checkpoint of fairseq.
    """
    global last_read
    if os.path.basename(path) == "checkpoint_last.pt":
        remedy = "remove it, or copy an earlier checkpoint of its folder over it"
    else:
        remedy = "name another one"
    try:
        if zipfile.is_zipfile(path):  # torch does not look at the checksums that it writes
            with zipfile.ZipFile(path) as file:
                require(file.testzip() is None, f"{path} is damaged: {remedy}.")
        state = _to_cpu(path, *args, **kwargs)
    except ConfigurationError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a truncated file may ask for a negative place
            raise ConfigurationError(f"{path} cannot be read ({error.strerror}): {remedy}.") from error
        unknown = re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", str(error))
        if unknown:
            raise ConfigurationError(
                f"{path} holds {unknown[1]}, which might run code when it is loaded: {remedy}."
            ) from error
        raise ConfigurationError(f"{path} is damaged, or no checkpoint of fairseq: {remedy}.") from error
    require(
        "model" in state and bool(state.get("cfg") or state.get("args")),
        f"{path} is no checkpoint of fairseq, it lacks the model or its configuration: {remedy}.",
    )
    last_read = path
    return state


_to_cpu = replace(checkpoint_utils, "load_checkpoint_to_cpu", load_checkpoint_to_cpu)
