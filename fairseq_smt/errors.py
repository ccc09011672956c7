"""How the plugin's errors reach a user of the fairseq commands: as one sentence, not as a traceback."""

import os
import sys
from types import TracebackType

from fairseq_smt.core.errors import ConfigurationError, require

__all__ = ["ConfigurationError", "require", "install_excepthook"]


def find_configuration_error(error: BaseException | None) -> ConfigurationError | None:
    """The `ConfigurationError` in a chain of exceptions; fairseq wraps what is raised while it loads a checkpoint."""
    while error is not None:
        if isinstance(error, ConfigurationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def install_excepthook() -> None:
    """End on a `ConfigurationError` with its sentence alone; FAIRSEQ_SMT_TRACEBACK=1 shows where it came from."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = find_configuration_error(error)
        if found is None or os.environ.get("FAIRSEQ_SMT_TRACEBACK"):
            previous(kind, error, trace)
        else:
            print(f"{os.path.basename(sys.argv[0])}: error: {found}", file=sys.stderr)

    sys.excepthook = hook
