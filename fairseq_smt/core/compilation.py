"""torch's compiler for the modules that it was measured to speed up; names, weights and results stay as they are."""

import logging
import os
import shutil
import sysconfig
from pathlib import Path

from torch import Tensor, nn

from fairseq_smt.core.interface import Modules

logger = logging.getLogger(__name__)


def missing() -> str | None:
    """What this machine lacks for the compiler, None for nothing."""
    from torch import _dynamo

    if not _dynamo.is_dynamo_supported():
        return "torch's compiler does not support this Python"
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return "there is no C++ compiler: install g++, or name another one in the environment variable CXX"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's headers are absent: install them (python3-dev)"
    return None


def compile_parts(modules: Modules, backend: str = "inductor") -> None:
    """Compile the transformer cell and, for a GPU, a causal teacher's trunk, or say in the log why not.

    A step of the other cells is shorter than the look-up of its compiled code, and a scan's loop would be compiled anew
    for every length.
    """
    trunk = getattr(modules.teacher, "trunk", None)
    cell = modules.rnn.cell if modules.rnn.sizes.cell == "transformer" else None
    if trunk is None and cell is None:
        logger.warning("--compile is left out: it is for --cell transformer and, on a GPU, for a causal teacher.")
    elif lacking := missing():
        logger.warning("--compile is left out: %s.", lacking)
    else:
        if trunk is not None:
            compile_calls(trunk, "teacher's trunk", backend, on_cpu=False)
        if cell is not None:
            compile_calls(cell, "transformer cell", backend)


def compile_calls(part: nn.Module, what: str, backend: str = "inductor", on_cpu: bool = True) -> None:
    """Compile a module's calls for any batch and block length; if that fails, it runs as before.

    Args:
        what: the module is, for the log.
        on_cpu: whether it is compiled on a CPU too.
    """
    from torch._dynamo.exc import TorchDynamoException

    part.compile(dynamic=True, backend=backend)
    compiled = part._compiled_call_impl

    def call(x: Tensor, *others) -> Tensor:
        why = "it gains too little on a CPU"
        if on_cpu or x.device.type != "cpu":
            try:
                return compiled(x, *others)
            except TorchDynamoException as error:
                cause = error.__cause__ or getattr(error, "inner_exception", None) or error
                why = f"compiling it failed ({type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]})"
        logger.warning("--compile is left out for the %s: %s.", what, why)
        part._compiled_call_impl = None
        return part(x, *others)

    part._compiled_call_impl = call
