"""Commands in forks of one process that has imported fairseq: a command starts at once instead of after seconds.

    python tests/support/preloaded.py SOCKET      # the server; `Server` in this file is its client

A fork has its own arguments, folder, environment, input and output, runs the command's own entry point and ends as an
interpreter does. The server never imports the plugin: `--user-dir` finds and registers it as in a fresh process, and
a command of our own imports it in its fork.
"""

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

COMMANDS = {
    f"fairseq-{name}": f"fairseq_cli.{name.replace('-', '_')}"
    for name in ("train", "validate", "eval-lm", "generate", "interactive", "hydra-train", "preprocess")
}
"""fairseq's commands, and the module of each."""

OTHERS = ("sympy", "safetensors.torch", "torch.utils.serialization")
"""What commands import later, of other packages than ours."""

OWN = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
"""Our commands, and the entry point of each."""

CLIENT = """#!{python} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
socket.send_fds(connection, [b"+"], [0, 1, 2])
stream = connection.makefile("rw")
stream.write(json.dumps(dict(argv=sys.argv, cwd=os.getcwd(), environment=dict(os.environ))) + "\\n")
stream.flush()
stream.readline()
sys.exit(int(stream.readline() or 137) & 255)
"""
"""A program that has a server run the command of its own name, with its own input and output."""


def serve(address: str) -> None:
    """Fork for every connection; the fork forks the command and answers with its process and then its status."""
    for module in (*COMMANDS.values(), *OTHERS):
        importlib.import_module(module)
    warm_hydra()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # a collection in a fork would copy every page
    sys.dont_write_bytecode = False  # one fork compiles for the others, and for every later process
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        parent = os.getppid()
        listener.settimeout(5)
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if os.getppid() != parent:  # the tests are gone
                    return
                continue
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    with connection, connection.makefile("rw") as stream:
        sent, files, *_ = socket.recv_fds(connection, 1, 3)
        if not sent:  # somebody who wanted to know whether the server is there
            os._exit(0)
        request = json.loads(stream.readline())
        command = os.fork()
        if command:
            stream.write(f"{command}\n")
            stream.flush()
            _, status = os.waitpid(command, 0)
            stream.write(json.dumps(os.waitstatus_to_exitcode(status)) + "\n")
            stream.flush()
            os._exit(0)
    become(request, files)
    name = Path(request["argv"][0]).name
    module, function = OWN[name].split(":") if name in OWN else (COMMANDS[name], "cli_main")
    sys.exit(getattr(importlib.import_module(module), function)())


def warm_hydra() -> None:
    """Make one configuration: hydra's parser learns as it reads, and every fork inherits what it knows."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    flags = ["DATA", "--task", "language_modeling", "--arch", "transformer_lm"]
    convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), flags))


def become(request: dict, files: list[int]) -> None:
    """Take over a request's input, outputs, folder, environment and arguments."""
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.close(source)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]


@dataclass
class Command:
    """A command that runs."""

    process: int
    file: Path
    """Where its output goes, stdout and stderr together."""
    stream: TextIO

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.process, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Exit status (-9 after a kill) and output."""
        with self.stream:
            status = json.loads(self.stream.readline() or "-1")
        return status, self.file.read_text(errors="replace")


class Server:
    """A server of its own; `run` may be called from several threads at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.address = str(folder / "socket")
        environment = os.environ | {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, __file__, self.address], env=environment)
        self.number = 0

    def programs(self, folder: Path) -> None:
        """Put a program into a folder for every command; when this returns, the server has imported all it needs."""
        self._connect().close()
        for name in (*COMMANDS, *OWN):
            path = folder / name
            path.write_text(CLIENT.format(python=sys.executable, address=self.address))
            path.chmod(0o755)

    def start(self, argv: list[str], cwd: Path, environment: dict[str, str], stdin: str | None = None) -> "Command":
        """Start a command."""
        self.number += 1
        files = [self.folder / f"{self.number}.{name}" for name in ("in", "out")]
        files[0].write_text(stdin or "")
        connection = self._connect()
        with files[0].open() as given, files[1].open("w") as taken:
            socket.send_fds(connection, [b"+"], [given.fileno(), taken.fileno(), taken.fileno()])
        request = {"argv": argv, "cwd": str(cwd), "environment": environment}
        stream = connection.makefile("rw")
        stream.write(json.dumps(request) + "\n")
        stream.flush()
        return Command(int(stream.readline()), files[1], stream)

    def _connect(self) -> socket.socket:
        """A connection; while the server still imports, wait for it."""
        deadline = time.monotonic() + 600
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self.address)
                connection.settimeout(900)
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder is not the commands'
    serve(sys.argv[1])
