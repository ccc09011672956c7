"""fairseq's classes for files of data, imported only when they are needed: that takes seconds."""

import logging
from types import ModuleType

from fairseq_smt.core.errors import ConfigurationError


def fairseq_files() -> tuple[type, ModuleType]:
    """fairseq's `Dictionary` and its module `indexed_dataset`, without the remarks that it makes on import.

    Raises:
        ConfigurationError: when fairseq is not installed, or gets no shared memory.
    """
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    try:
        from fairseq.data import Dictionary, indexed_dataset
    except OSError as error:  # of the semaphore that fairseq makes when it is imported
        raise ConfigurationError(
            f"fairseq gets no shared memory from the system ({error.strerror}): make room in /dev/shm, or mount it so "
            "that it can be written."
        ) from error
    except ModuleNotFoundError as error:
        if error.name != "fairseq":
            raise
        raise ConfigurationError(
            "fairseq is not installed: run `pip install ve-fairseq` (Python 3.11 or 3.12)."
        ) from None
    return Dictionary, indexed_dataset
