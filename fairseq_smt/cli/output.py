"""What commands write: whole files or none, and a sentence where a folder cannot be written."""

import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fairseq_smt.data.label_cache.files import write_atomically
from fairseq_smt.errors import ConfigurationError


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole, and the folders above it where they are absent.

    Raises:
        ConfigurationError: when the system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): name another place by --output."
        ) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain data; a number that is not finite is an error of the caller."""
    write(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write(path, buffer.getvalue())
