"""fairseq's commands as the tests run them, and the flags most of them start from."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.support.preloaded import COMMANDS, Command, Server

ROOT = Path(__file__).parent.parent.parent
FRESH = bool(os.environ.get("TEST_FRESH"))
"""TEST_FRESH=1 starts every command as a process of its own, at a third of the speed."""

BLOCKS = ["--task", "smt_lm", "--tokens-per-sample", "32", "--add-bos-token"]
TRAIN = [*BLOCKS, "--arch", "smt_lm_tiny", "--batch-size", "8", "--optimizer", "adam", "--lr", "0.008", "--cpu"]
TRAIN += ["--batch-size-valid", "32"]  # as many tokens in fewer steps


@cache
def server() -> Server:
    """fairseq's commands, imported once for all tests of this process."""
    return Server(Path(tempfile.mkdtemp(prefix="fairseq-")))


def prepared(command: Sequence[object]) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a command."""
    argv = [str(Path(sys.executable).parent / str(command[0])), *map(str, command[1:])]
    return argv, os.environ | {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


def start(*command: object, cwd: Path = ROOT) -> Command:
    """Start one of fairseq's commands and return at once."""
    argv, environment = prepared(command)
    return server().start(argv, cwd, environment)


def run(*command: object, cwd: Path = ROOT, ok: bool = True, stdin: str | None = None, fresh: bool = FRESH) -> str:
    """Run a command of this environment and return what it prints; fail unless it succeeds (or fails, if not `ok`).

    Args:
        fresh: start the installed program; otherwise fairseq's commands run in forks of a process that has imported
            them (tests/support/preloaded.py).
    """
    argv, environment = prepared(command)
    if fresh or command[0] not in COMMANDS:
        done = subprocess.run(argv, cwd=cwd, env=environment, input=stdin, text=True, capture_output=True, timeout=300)
        status, output = done.returncode, done.stdout + done.stderr
    else:
        status, output = server().start(argv, cwd, environment, stdin).wait()
    assert (status == 0) == ok, output[-3000:]
    return output


def fairseq(command: str, data: Path, *flags: object, user_dir: str = "fairseq_smt", **kwargs) -> str:
    """`fairseq-COMMAND DATA --user-dir fairseq_smt FLAGS`."""
    return run(f"fairseq-{command}", data, "--user-dir", user_dir, *flags, **kwargs)
