"""torch's compiler for the modules that it was measured to speed up; names, weights and results stay as they are."""

import logging
import shutil
import sysconfig
from pathlib import Path

from torch import nn

from fairseq_smt.core.interface import Modules

logger = logging.getLogger(__name__)


def missing() -> str | None:
    """What this machine lacks for the compiler, None for nothing."""
    from torch import _dynamo

    if not _dynamo.is_dynamo_supported():
        return "torch's compiler does not support this Python"
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return "there is no C++ compiler: install g++"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's headers are absent: install them (python3-dev)"
    return None


def parts(modules: Modules) -> list[nn.Module]:
    """What is worth compiling: a causal teacher's trunk and the transformer cell.

    A step of the other cells is shorter than the look-up of its compiled code, and a scan's loop would be compiled anew
    for every length.
    """
    trunk = [modules.teacher.trunk] if modules.teacher is not None and modules.teacher.every_position else []
    return trunk + ([modules.rnn.cell] if modules.rnn.sizes.cell == "transformer" else [])


def compile_parts(modules: Modules, backend: str = "inductor") -> None:
    """Compile the calls of `parts` for any batch and block length, or say in the log why they stay as they are."""
    lacking = missing()
    if lacking is not None:
        logger.warning("--compile is left out: %s.", lacking)
        return
    for part in parts(modules):
        part.compile(dynamic=True, backend=backend)
