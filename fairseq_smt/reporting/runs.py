"""A run of fairseq-train as what it left: checkpoints, a log, TensorBoard's files."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils

from fairseq_smt.analysis.loading import last_validation, of_this_model
from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.reporting.curves import Curves
from fairseq_smt.reporting.events import holds_events, read_events
from fairseq_smt.reporting.logs import Phases, read_log

PREFERRED = ("checkpoint_best.pt", "checkpoint_last.pt")


@dataclass
class Run:
    """A run.

    Attributes:
        checkpoint: what is looked at: the best one of its folder, unless another was named.
        cfg: fairseq's config of its training.
        updates: of the run, and of the checkpoint (`at`).
        seconds: of its training; None where they cannot be told from those of the stages before it.
        with_earlier: seconds with the stages before it.
        parent: the checkpoint that it started from.
        parameters: numbers in the RNN, or in the model of another kind.
        validation: means of the last validation, by name.
        curves, phases: what it logged.
        missing: sentences on what was not found.
    """

    name: str
    checkpoint: Path
    cfg: Any
    updates: int
    at: int
    seconds: float | None
    with_earlier: float
    parent: str | None
    parameters: int
    validation: dict[str, float]
    curves: Curves = field(default_factory=Curves)
    phases: Phases = field(default_factory=Phases)
    missing: list[str] = field(default_factory=list)

    @property
    def has_memories(self) -> bool:
        """Whether its model is `smt_lm`."""
        return of_this_model(self.cfg)

    @property
    def criterion(self) -> str:
        return str(self.cfg.criterion._name)

    @property
    def folder(self) -> Path:
        """Its --save-dir."""
        return self.checkpoint.parent


def find_checkpoint(run: str) -> Path:
    """The checkpoint of a --save-dir, of a folder of fairseq-hydra-train, or the one that is named.

    Raises:
        ConfigurationError: when there is none.
    """
    path = Path(run)
    require(path.exists(), f"{run} does not exist: name the --save-dir of a run, or a checkpoint.")
    if path.is_file():
        return path
    for folder in (path, path / "checkpoints"):
        for name in PREFERRED:
            if (folder / name).is_file():
                return folder / name
        if others := sorted(folder.glob("checkpoint*.pt"), key=lambda file: file.stat().st_mtime):
            return others[-1]
    raise ConfigurationError(f"{run} holds no checkpoint: name the --save-dir of a run, or a checkpoint.")


def read_run(path: Path, name: str, log: str | None = None, board: str | None = None) -> Run:
    """Read all that a run left.

    Args:
        path: its checkpoint.
        name: what it is called.
        log: its log; found beside the checkpoint unless given.
        board: its --tensorboard-logdir; that of its training unless given.

    Raises:
        ConfigurationError: for what cannot be read.
    """
    missing: list[str] = []
    state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    cfg, parent = state["cfg"], state["cfg"].checkpoint.get("finetune_from_model")
    last = path.with_name("checkpoint_last.pt")
    end = (_found(last, f"The end of {name}", missing) if last.is_file() and last != path else None) or state
    total, before = _seconds(end), 0.0
    if parent:
        start = _found(Path(parent), f"The seconds of {name} without the stages before it", missing)
        before = math.inf if start is None else _seconds(start)
    run = Run(
        name=name,
        checkpoint=path,
        cfg=cfg,
        updates=_updates(end),
        at=_updates(state),
        seconds=total - before if before <= total else None,
        with_earlier=total,
        parent=parent,
        parameters=_parameters(state["model"]),
        validation=last_validation(state),
        missing=missing,
    )
    _read_log(run, log)
    _read_board(run, board)
    return run


def _found(path: Path, what: str, missing: list[str]) -> dict[str, Any] | None:
    """Another checkpoint of a run; a sentence is noted where there is none."""
    try:
        require(path.is_file(), f"{path} is not here.")
        return checkpoint_utils.load_checkpoint_to_cpu(str(path))
    except ConfigurationError as error:
        missing.append(f"{what}: {error}")
        return None


def _read_log(run: Run, named: str | None) -> None:
    """Read the log that is named, or the first of those beside a run that has any values."""
    if named is not None:
        found = read_log(Path(named))
        require(bool(found.curves), f"the log {named} has no values of fairseq-train: name another one by --log-file.")
    else:
        found = next((log for path in _logs(run) if (log := read_log(path)).curves), None)
    if found is None:
        run.missing.append(f"The log of {run.name}, which says how long validation took: name it by --log-file.")
    else:
        run.curves, run.phases = found.curves, found.phases


def _read_board(run: Run, named: str | None) -> None:
    """Read TensorBoard's files where they are named, or where a run has put them."""
    if named is not None:
        require(Path(named).is_dir(), f"--tensorboard-logdir {named} is no folder: name another one.")
        found = read_events(Path(named))
        require(bool(found), f"--tensorboard-logdir {named} has no values of fairseq-train: name another one.")
        run.curves.update(found)
        return
    folder, why = _board(run), "there are none where it was trained"
    if folder is not None:
        try:
            if found := read_events(folder):
                run.curves.update(found)
                return
            why = f"those in {folder} hold nothing"
        except ConfigurationError as error:
            why = str(error).rstrip(".")
    has = "Its curves are those of its log." if run.curves else "It has no curves."
    run.missing.append(
        f"TensorBoard's files of {run.name}, {why}: name their folder by --tensorboard-logdir, a flag of fairseq-train "
        f"too. {has}"
    )


def _logs(run: Run) -> list[Path]:
    """Files that may be the log of a run, the likeliest first."""
    folder, named = run.folder.resolve(), run.cfg.common.get("log_file")
    candidates = [Path(named)] if named else []
    candidates += [folder.with_name(f"{folder.name}.log"), folder / "log", *sorted(folder.glob("*.log"))]
    candidates.append(folder.parent / "hydra_train.log")
    return [path for path in candidates if path.is_file()]


def _board(run: Run) -> Path | None:
    """The folder that a run logged to, or one like it beside its checkpoints."""
    named = run.cfg.common.get("tensorboard_logdir")
    candidates = [Path(named), run.folder.parent / named] if named else []
    candidates += sorted(path for path in run.folder.glob("*") if path.is_dir())
    return next((path for path in candidates if holds_events(path)), None)


def _seconds(state: dict[str, Any]) -> float:
    return float((state.get("extra_state") or {}).get("previous_training_time") or 0.0)


def _updates(state: dict[str, Any]) -> int:
    history = state.get("optimizer_history") or [{}]
    return int(history[-1].get("num_updates") or 0)


def _parameters(model: dict[str, Any]) -> int:
    sizes = {key: value.numel() for key, value in model.items() if value.is_floating_point()}
    rnn = [size for key, size in sizes.items() if key.startswith("decoder.rnn.")]
    return sum(rnn or sizes.values())
