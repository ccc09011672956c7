"""fairseq-train runs under a budget of CPU-seconds, kept on disk so that an interrupted study goes on where it was."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq_smt import FAIRSEQ
from fairseq_smt.files import write_whole

ROOT = Path(__file__).parent.parent


def program(name: str) -> str:
    """Path of a fairseq command, of this interpreter's environment first."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise SystemExit(f"{name} is not installed: run `pip install {FAIRSEQ}` (Python 3.11 or 3.12).")
    return found


def seconds_of(command: list[str], log: Path, gpu: bool = False) -> float:
    """Run a command with its output in `log`; the CPU time that it took on one thread, or with `gpu` the time.

    Raises:
        SystemExit: when it fails, with the end of its output.
    """
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    if not gpu:
        environment["OMP_NUM_THREADS"] = "1"
    started = time.monotonic()
    with open(log, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a run failed; see {log}:\n{log.read_text()[-1500:]}")
    return time.monotonic() - started if gpu else usage.ru_utime + usage.ru_stime


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What a JSON file holds; what `make` returns, written there, if it does not exist."""
    if not path.exists():
        write_whole(path, json.dumps(make(), indent=1).encode())
    return json.loads(path.read_text())


@dataclass
class Runs:
    """Runs in one folder. Everything is keyed by the name given; a finished run is read, not repeated."""

    folder: Path
    data: list[str]
    """DATA of the fairseq commands, or nothing for a task that generates its own."""

    common: str
    """Flags of every run: task, blocks, sizes, optimiser."""

    gpu: bool = False
    """Train on the GPU and count seconds; else on the CPU, and CPU-seconds of one thread."""

    locks: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    """One per name: of two threads that want the same run, the second waits for the first."""

    def _kept(self, name: str, make: Callable[[Path], dict]) -> dict:
        path = self.folder / name / "result.json"
        with self.locks[name]:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                print(f"run {name}", file=sys.stderr, flush=True)
            return kept(path, lambda: make(path.parent))

    def result(self, name: str) -> dict:
        """What a finished run measured."""
        return json.loads((self.folder / name / "result.json").read_text())

    @property
    def _cpu(self) -> str:
        return "" if self.gpu else " --cpu"

    def _command(self, flags: str, updates: int) -> list[str]:
        length = f"--max-update {updates} --max-epoch 100000 --log-format json --log-interval 100{self._cpu}"
        user_dir = ["--user-dir", str(ROOT / "fairseq_smt")]
        return [program("fairseq-train"), *self.data, *user_dir, *f"{self.common} {length} {flags}".split()]

    def seconds_per_update(self, name: str, flags: str, short: int = 100, long: int = 300) -> float:
        """Seconds of one update: the difference of a longer and a shorter run, which cancels the start-up."""

        def make(folder: Path) -> dict:
            took = [
                seconds_of(
                    [*self._command(flags, n), "--no-save", "--disable-validation", "--save-dir", str(folder)],
                    folder / f"{n}.log",
                    self.gpu,
                )
                for n in (short, long)
            ]
            return {"seconds_per_update": (took[1] - took[0]) / (long - short)}

        return self._kept(f"cost-{name}", make)["seconds_per_update"]

    def train(self, name: str, flags: str, updates: int) -> dict[str, float]:
        """Train for `updates`, validate at the end, and keep the last checkpoint; the last validation's figures."""

        def make(folder: Path) -> dict:
            command = self._command(flags, updates)
            command += ["--save-dir", str(folder), "--no-epoch-checkpoints", "--validate-interval", "100000"]
            took = seconds_of(command, folder / "train.log", self.gpu)
            text = (folder / "train.log").read_text()
            valid = re.findall(r"\| valid \| (\{.*\})", text)
            figures = {k.removeprefix("valid_"): float(v) for k, v in json.loads(valid[-1]).items() if k != "epoch"}
            return figures | {"updates": updates, "seconds": took}

        return self._kept(name, make)

    def checkpoint(self, name: str) -> Path:
        """The last checkpoint of a run."""
        return self.folder / name / "checkpoint_last.pt"

    def test_bits(self, name: str, blocks: str, what: str, overrides: str) -> float:
        """Bits per token of a run's last checkpoint on the test split, by fairseq-eval-lm; `what` names the score."""

        def make(folder: Path) -> dict:
            command = [program("fairseq-eval-lm"), *self.data, "--user-dir", str(ROOT / "fairseq_smt"), *blocks.split()]
            command += ["--path", str(self.checkpoint(name)), "--gen-subset", "test", "--batch-size", "64"]
            command += self._cpu.split()
            seconds_of([*command, "--model-overrides", overrides], folder / "score.log", self.gpu)
            text = (folder / "score.log").read_text()
            return {"bits": float(re.search(r"Loss \(base 2\): ([\d.]+)", text).group(1))}

        return self._kept(f"{name}/test-{what}", make)["bits"]
