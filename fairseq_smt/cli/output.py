"""What commands write: whole files or none, and a sentence where a folder cannot be written."""

import io
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fairseq_smt.console.starting import check_folder
from fairseq_smt.errors import require
from fairseq_smt.files import told, write_whole


def check_place(path: Path, what: str = "") -> None:
    """Find out whether a file can be written, before the work that it is the outcome of; nothing is made.

    Raises:
        ConfigurationError: when the system refuses, or a folder is in its place.
    """
    what = what or f"{path} of --output"
    require(not path.is_dir(), f"{what} is a folder: name a file.")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    check_folder(str(folder), what)


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole, and the folders above it where they are absent.

    Raises:
        ConfigurationError: when the system refuses.
    """
    with told(f"{path} of --output"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain data, with null for a number that is not finite."""
    write(path, (json.dumps(_finite(content), indent=1, allow_nan=False) + "\n").encode())


def _finite(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _finite(value) for name, value in x.items()}
    if isinstance(x, list):
        return [_finite(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write(path, buffer.getvalue())
