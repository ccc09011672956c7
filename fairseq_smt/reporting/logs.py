"""fairseq's log, of `--log-format json` and `simple`, as a terminal shows it or as `--log-file` keeps it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fairseq_smt.errors import ConfigurationError
from fairseq_smt.reporting.curves import EPOCHS, INNER, Curves

LONGEST = 1 << 16
"""Characters of a line that are read; no record is longer."""
STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| ")
PROGRESS = re.compile(r"epoch \d+:\s+\d+ / \d+ (.*)")
SUMMARY = re.compile(r"epoch \d+ \| (?:valid on '([^']+)' subset \| )?(.*)")
UPDATES = "num_updates"


@dataclass
class Phases:
    """Seconds of a run: before its first update; in all from then on; of these, for what is no update."""

    start: float = 0.0
    total: float = 0.0
    validation: float = 0.0
    saving: float = 0.0

    @property
    def updates(self) -> float:
        """Seconds of the updates."""
        return max(0.0, self.total - self.validation - self.saving)


@dataclass
class Log:
    """A log's values, and the seconds of the phases, zero where it has no times."""

    curves: Curves = field(default_factory=Curves)
    phases: Phases = field(default_factory=Phases)


def read_log(path: Path) -> Log:
    """Read a log, which may be one of several commands that went on with a run.

    Raises:
        ConfigurationError: when it cannot be read.
    """
    log, clock = Log(), Clock()
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in iter(lambda: file.readline(LONGEST), ""):
                for split, name, update, value in entries(line):
                    log.curves.add(split, name, update, value)
                clock.hear(line)
    except OSError as error:
        raise ConfigurationError(f"the log {path} cannot be read ({error.strerror}): name another one.") from None
    log.phases = clock.phases()
    return log


def entries(line: str) -> Iterator[tuple[str, str, int, float]]:
    """Split, name, update and value of what a line logs."""
    record = _json(line) or _simple(line)
    split = next((key[: -len(UPDATES) - 1] for key in record if key.endswith(f"_{UPDATES}")), INNER)
    prefix = "" if split == INNER else f"{split}_"
    update = _number(record.get(prefix + UPDATES))
    if update is None or update != int(update):
        return
    for key, text in record.items():
        value = _number(text)
        name = key[len(prefix) :]
        if value is not None and key.startswith(prefix) and name not in (UPDATES, "epoch", "update"):
            yield split, name, int(update), value


def _json(line: str) -> dict[str, Any]:
    start = line.find('{"epoch"')
    if start < 0:
        return {}
    try:
        record = json.loads(line[start:])
    except (ValueError, RecursionError):
        return {}
    return record


def _simple(line: str) -> dict[str, str]:
    if inner := PROGRESS.search(line):
        return dict(re.findall(r"(\w+)=([^,\s]+)", inner[1]))
    if summary := SUMMARY.search(line):
        prefix = f"{summary[1] or EPOCHS}_"
        return {prefix + name: value for name, value in re.findall(r"(\w+) ([^|\s]+)", summary[2])}
    return {}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 1e18 else None


class Clock:
    """Seconds of a run's phases, by what fairseq says when they begin and end."""

    def __init__(self) -> None:
        self._done = Phases()
        self._marks: dict[str, datetime] = {}
        self._now = self._progress = self._first = None
        """The last stamp, that of the last values, and the first one of the command."""

    def hear(self, line: str) -> None:
        """Take note of a line."""
        if stamp := STAMP.match(line):
            self._now = datetime.fromisoformat(stamp[1])
            self._first = self._first or self._now
        if "| {'_name': " in line:  # the config, with which a command begins
            self._give_up()
            self._first = self._now
        elif "Start iterating over samples" in line and "updates" not in self._marks:
            self._done.start += self._seconds(self._first, self._now)
            self._marks["updates"] = self._now
        elif "begin validation on" in line:
            self._marks["validation"] = self._now
        elif written := re.search(r"\(writing took ([\d.]+) seconds\)", line):
            self._done.saving += _number(written[1]) or 0.0
        elif ended := re.search(r"done training in ([\d.]+) seconds", line):
            self._done.total += _number(ended[1]) or 0.0
            self._marks = {}
        elif UPDATES in line:
            if "valid on '" in line or f'_{UPDATES}"' in line:
                self._done.validation += self._seconds(self._marks.pop("validation", None), self._now)
            self._progress = self._now

    def phases(self) -> Phases:
        """What has been heard; a command without an end counts up to its last progress."""
        self._give_up()
        return self._done

    def _give_up(self) -> None:
        """The command heard of last was killed."""
        self._done.total += self._seconds(self._marks.pop("updates", None), self._progress)
        self._marks = {}

    @staticmethod
    def _seconds(start: datetime | None, end: datetime | None) -> float:
        return 0.0 if start is None or end is None else max(0.0, (end - start).total_seconds())
