"""fairseq's commands in forks of one process that has imported them: a command starts at once instead of after seconds.

    python tests/support/preloaded.py SOCKET      # the server; `run` in this file is its client

A fork has its own arguments, folder, environment, input and output, runs the command's own entry point and ends as an
interpreter does. The server never imports the plugin: `--user-dir` finds and registers it as in a fresh process.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

COMMANDS = {
    f"fairseq-{name}": f"fairseq_cli.{name.replace('-', '_')}"
    for name in ("train", "validate", "eval-lm", "generate", "interactive", "hydra-train", "preprocess")
}


def serve(address: str) -> None:
    """Fork for every connection; the fork forks the command and answers with its process and then its status."""
    mains = {command: importlib.import_module(module).cli_main for command, module in COMMANDS.items()}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
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
        request = json.loads(stream.readline())
        command = os.fork()
        if command:
            stream.write(f"{command}\n")
            stream.flush()
            _, status = os.waitpid(command, 0)
            stream.write(json.dumps(os.waitstatus_to_exitcode(status)) + "\n")
            stream.flush()
            os._exit(0)
    become(request)
    sys.exit(mains[Path(request["argv"][0]).name]())


def become(request: dict) -> None:
    """Take over a request's input, output, folder, environment and arguments."""
    for target, path, flags in ((0, request["stdin"], os.O_RDONLY), (1, request["stdout"], os.O_WRONLY)):
        source = os.open(path, flags)
        os.dup2(source, target)
        os.close(source)
    os.dup2(1, 2)
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

    def start(self, argv: list[str], cwd: Path, environment: dict[str, str], stdin: str | None = None) -> "Command":
        """Start a command."""
        self.number += 1
        files = [self.folder / f"{self.number}.{name}" for name in ("in", "out")]
        files[0].write_text(stdin or "")
        files[1].touch()
        request = {"argv": argv, "cwd": str(cwd), "environment": environment}
        request |= {"stdin": str(files[0]), "stdout": str(files[1])}
        stream = self._connect().makefile("rw")
        stream.write(json.dumps(request) + "\n")
        stream.flush()
        return Command(int(stream.readline()), files[1], stream)

    def _connect(self) -> socket.socket:
        """A connection; while the server still imports, wait for it."""
        deadline = time.monotonic() + 120
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
