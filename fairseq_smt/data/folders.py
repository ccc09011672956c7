"""Folders that are whole or absent."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_folder(destination: str) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `destination` at the end; after an error that stays as it was."""
    parent = os.path.dirname(os.path.abspath(destination))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".prepare") as work:
        folder = Path(work, "bin")
        folder.mkdir()
        yield folder
        if os.path.isdir(destination):
            shutil.rmtree(destination)
        os.replace(folder, destination)
