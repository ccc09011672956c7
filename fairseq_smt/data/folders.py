"""Folders that commands write, whole or absent, and that never take the place of something else."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fairseq_smt.core.errors import require
from fairseq_smt.data import pixels, vocabulary
from fairseq_smt.files import told, whole_folder

DESCRIPTIONS = (vocabulary.DESCRIPTION, pixels.DESCRIPTION)
"""Every folder of a prepare command has one of these."""
WRITTEN = {*DESCRIPTIONS, vocabulary.MODEL, "dict.txt", "preprocess.log"}
WRITTEN |= {f"{split}.{suffix}" for split in ("train", "valid", "test") for suffix in ("bin", "idx")}
"""All that a prepare command has ever written."""


@dataclass(frozen=True)
class Kind:
    """What folders of one kind hold.

    Attributes:
        argument: what the folder is called on the command line.
        writer: the command, as sentences call it.
        described_by: every such folder has one of these files.
        written: all files that it may have.
    """

    argument: str
    writer: str
    described_by: tuple[str, ...]
    written: frozenset[str]


DATA = Kind("--destdir", "prepare command", DESCRIPTIONS, frozenset(WRITTEN))


@contextmanager
def replaced_folder(destination: str, kind: Kind = DATA) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `destination` at the end; after an error all is as it was.

    A link to a folder stays, and what it leads to is replaced. The parent of the new folder is for temporary files.

    Raises:
        ConfigurationError: when something else than a folder of its kind is there, or it cannot be written.
        OSError: of the caller, when it is about another place.
    """
    target = Path(os.path.realpath(destination))
    what = f"{kind.argument} {destination}"
    with ExitStack() as stack:
        with told(what):
            _check_replaceable(destination, target, kind)
            folder = stack.enter_context(whole_folder(target))
        with told(what, within=folder.parent):
            yield folder
        with told(what):
            _check_replaceable(destination, target, kind)  # something may have appeared meanwhile
            stack.close()


def _check_replaceable(destination: str, target: Path, kind: Kind) -> None:
    """Raise unless the folder is absent, empty, or of its kind."""
    what = f"{kind.argument} {destination}"
    here = Path.cwd().resolve()
    require(
        target not in (here, *here.parents, Path(os.path.expanduser("~")).resolve()),
        f"{what} is a folder that you work in or its parent: give a folder of its own.",
    )
    if not target.exists():
        return
    require(target.is_dir(), f"{what} is a file: give a folder.")
    found = sorted(target.iterdir())
    foreign = [path.name for path in found if path.name not in kind.written or path.is_dir()]
    if not foreign and not any(path.name in kind.described_by for path in found):
        foreign = [path.name for path in found]
    require(
        not foreign,
        f"{what} holds {', '.join(foreign[:1])}, which no {kind.writer} wrote there, and would be "
        "replaced: give a folder of its own.",
    )
