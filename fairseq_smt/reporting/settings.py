"""The flags of runs: which differ from their defaults, and which from run to run."""

from ast import literal_eval
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints

from fairseq.dataclass.configs import FairseqConfig
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from omegaconf import ListConfig

from fairseq_smt.models.smt_lm import SmtLanguageModelConfig

CHOSEN = {
    "task": "--task",
    "model": "--arch",
    "criterion": "--criterion",
    "optimizer": "--optimizer",
    "lr_scheduler": "--lr-scheduler",
}
"""Parts of fairseq's config that are chosen by name, and the flags that do it."""
PLAIN = ("common", "distributed_training", "dataset", "optimization", "checkpoint", "ema")
"""Other parts that have to do with training."""
OF_THE_PLACE = {"save_dir", "tensorboard_logdir", "log_file", "log_format", "log_interval", "user_dir", "num_workers"}
OF_THE_PLACE |= {"distributed_rank", "device_id", "distributed_init_method", "distributed_port", "nprocs_per_node"}
"""Fields that say where a run took place and what it told, not what it did."""


@dataclass(frozen=True)
class Setting:
    """A flag: its default, None without one or with several, and its value in every run that has it, else None."""

    flag: str
    default: str | None
    values: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        """Whether runs differ in it."""
        return len(set(self.values)) > 1


def settings_of(configs: list[Any]) -> list[Setting]:
    """The flags of some runs that differ from their defaults or between runs, the latter first."""
    runs = [dict(_flags(cfg)) for cfg in configs]
    found = []
    for flag in dict.fromkeys(flag for run in runs for flag in run):
        given = [run[flag] for run in runs if flag in run]
        if any(value != default for value, default in given):
            defaults = {default for _, default in given}
            values = tuple(run[flag][0] if flag in run else None for run in runs)
            found.append(Setting(flag, defaults.pop() if len(defaults) == 1 else None, values))
    return sorted(found, key=lambda setting: not setting.differs)


def _flags(cfg: Any) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Flag → value and default, of everything in a config but what comes from other parts of it."""
    for part, flag in CHOSEN.items():
        name = str(cfg[part].get("_name"))
        yield flag, (name, None)
        yield from _of_part(_dataclass(part, name), cfg[part])
    for part in PLAIN:
        yield from _of_part(get_type_hints(FairseqConfig)[part], cfg.get(part))


def _dataclass(part: str, name: str) -> type | None:
    """The dataclass behind a part, where it has one."""
    if part == "task":
        return TASK_DATACLASS_REGISTRY.get(name)
    if part == "model":
        return SmtLanguageModelConfig if name.startswith("smt_lm") else None
    return REGISTRIES[part]["dataclass_registry"].get(name)


def _of_part(config: type | None, given: Any) -> Iterator[tuple[str, tuple[str, str | None]]]:
    for f in fields(config) if config else ():
        if f.name == "_name" or f.name in OF_THE_PLACE or given is None or f.name not in given:
            continue
        default = _default(f)
        if not str(default).startswith("${"):
            flags = f.metadata.get("argparse_alias"), "--" + f.name.replace("_", "-")
            yield min(filter(None, flags), key=len), (_shown(given[f.name]), _shown(default))


def _default(f: Field) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _shown(value: Any) -> str:
    """A value as a flag has it."""
    value = getattr(value, "value", value)
    if isinstance(value, str) and value.startswith(("(", "[")) and len(value) < 100:
        with suppress(ValueError, SyntaxError):
            value = literal_eval(value)
    if isinstance(value, (list, tuple, ListConfig)):
        return ",".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None or value == "" else str(value)
