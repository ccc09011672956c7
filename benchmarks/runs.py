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


def _validations(log: Path) -> list[dict[str, float]]:
    """What a run logged at every validation."""
    found = re.findall(r"\| valid \| (\{.*\})", log.read_text())
    return [
        {name.removeprefix("valid_"): float(value) for name, value in json.loads(record).items() if value is not None}
        for record in found
    ]


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

    def _command(self, flags: str, updates: int, folder: Path) -> list[str]:
        length = f"--max-update {updates} --max-epoch 100000 --log-format json --log-interval 100{self._cpu}"
        user_dir = ["--user-dir", str(ROOT / "fairseq_smt"), "--save-dir", str(folder)]
        return [program("fairseq-train"), *self.data, *user_dir, *f"{self.common} {length} {flags}".split()]

    def seconds_per_update(self, name: str, flags: str, first: int = 20, last: int = 60, limit: float = 60) -> float:
        """Seconds of an update, as fairseq-train logs them, of those after the `first` ones up to `last`.

        A run that has taken longer than `limit` seconds ends, and where it had no others the first ones count.
        """

        def make(folder: Path) -> dict:
            often = f"--validate-interval-updates {first} --batch-size-valid 1 --max-valid-steps 0 --no-save"
            command = [*self._command(flags, last, folder), *f"{often} --stop-time-hours {limit / 3600}".split()]
            seconds_of(command, folder / "train.log", self.gpu)
            records = _validations(folder / "train.log")
            seconds, updates = (records[-1][key] for key in ("cost_seconds", "num_updates"))
            if len(records) > 1:
                seconds, updates = seconds - records[0]["cost_seconds"], updates - records[0]["num_updates"]
            return {"seconds_per_update": seconds / updates}

        return self._kept(f"cost-{name}", make)["seconds_per_update"]

    def train(self, name: str, flags: str, updates: Callable[[], int] | int, validations: int = 1) -> dict[str, Any]:
        """Train, validate along the way and at the end, and keep the last checkpoint.

        Args:
            updates: how many; called if the run is not there.
            validations: at most so many, at equal distances.

        Returns:
            The last validation's figures, and those of all as `curve`: none for a run that did not stay finite.

        Raises:
            SystemExit: when it fails, or is there with other flags.
        """

        def make(folder: Path) -> dict:
            number = updates() if callable(updates) else updates
            often = f"--validate-interval 100000 --validate-interval-updates {-(-number // validations)}"
            command = [*self._command(flags, number, folder), *f"{often} --save-interval 100000".split()]
            try:
                took = seconds_of([*command, "--no-epoch-checkpoints"], folder / "train.log", self.gpu)
            except SystemExit:
                if "not finite" not in (folder / "train.log").read_text():
                    raise
                return {"curve": [], "updates": number, "flags": made}
            curve = _validations(folder / "train.log")
            return curve[-1] | {"curve": curve, "updates": number, "seconds": took, "flags": made}

        made = f"{self.common} {flags}".split()
        found = self._kept(name, make)
        if found.get("flags", made) != made:
            raise SystemExit(f"{self.folder / name} was made with other flags: remove it, or give another --runs.")
        return found

    def checkpoint(self, name: str) -> Path:
        """The last checkpoint of a run."""
        return self.folder / name / "checkpoint_last.pt"

    def test_bits(self, name: str, blocks: str, what: str, overrides: str) -> float:
        """Bits per token of a run's last checkpoint on the test split, by fairseq-eval-lm; `what` names the score.

        Args:
            blocks: flags of the task, and batch size.
        """

        def make(folder: Path) -> dict:
            command = [program("fairseq-eval-lm"), *self.data, "--user-dir", str(ROOT / "fairseq_smt"), *blocks.split()]
            command += ["--path", str(self.checkpoint(name)), "--gen-subset", "test"]
            command += self._cpu.split()
            seconds_of([*command, "--model-overrides", overrides], folder / "score.log", self.gpu)
            text = (folder / "score.log").read_text()
            return {"bits": float(re.search(r"Loss \(base 2\): ([\d.]+)", text).group(1))}

        return self._kept(f"{name}/test-{what}", make)["bits"]
