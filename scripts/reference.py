#!/usr/bin/env python3
"""Write the generated pages of docs/reference: flags out of the dataclasses and parsers, the others out of tables.

python scripts/reference.py            # write the flags, the values that are refused, and the changes to fairseq
python scripts/reference.py --check    # write nothing; fail when a page is stale
"""

import argparse
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fairseq  # noqa: E402, F401
from fairseq.dataclass.utils import gen_parser_from_dataclass  # noqa: E402
from fairseq.tasks.language_modeling import LanguageModelingConfig  # noqa: E402

import fairseq_smt  # noqa: E402

fairseq_smt.register()

from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig, flag_of  # noqa: E402
from fairseq_smt.criterions.chunked_bptt import ChunkedBpttCriterionConfig  # noqa: E402
from fairseq_smt.criterions.dmt import DmtCriterionConfig  # noqa: E402
from fairseq_smt.criterions.smt import SmtCriterionConfig  # noqa: E402
from fairseq_smt.models.defaults import TRAINING, recipe  # noqa: E402
from fairseq_smt.models.presets import PRESETS  # noqa: E402
from fairseq_smt.models.smt_lm import SmtLanguageModelConfig  # noqa: E402
from fairseq_smt.tasks.fairseq_flags import TABLE  # noqa: E402
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig  # noqa: E402
from fairseq_smt.tasks.smt_probe import SmtProbeConfig  # noqa: E402

MADE = "<!-- Written by `python scripts/reference.py`: change the dataclass or the docstring, not this page. -->"
Row = tuple[str, str, str]


def cell(text: object) -> str:
    """A text as one cell of a Markdown table."""
    return " ".join(str(text).replace("|", "\\|").split())


def table(head: list[str], rows: list[list[str]] | list[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def shown(value: Any) -> str:
    """A default as a command line would have it; nothing for none."""
    value = value.value if isinstance(value, Enum) else value
    empty = value is None or value is MISSING or value == "" or value is argparse.SUPPRESS
    return "" if empty or isinstance(value, bool) else f"`{value}`"


def row_of(action: argparse.Action) -> Row:
    """Flag, default and help; of two names of a flag the last one, which fairseq gives an alias."""
    flag = ", ".join(f"`{name}`" for name in action.option_strings[-1:] or [action.metavar or action.dest])
    if isinstance(action, argparse.BooleanOptionalAction):
        flag = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.choices:
        flag += " " + ", ".join(f"`{choice}`" for choice in action.choices)
    return flag, shown(action.default), (action.help or "") % vars(action)


def rows_of(parser: argparse.ArgumentParser) -> list[Row]:
    """The flags of a command, without --help."""
    return [row_of(action) for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def of_dataclass(config: type, names: list[str]) -> list[Row]:
    """The flags of some fields of a dataclass of fairseq's kind."""
    parser = argparse.ArgumentParser(add_help=False)
    gen_parser_from_dataclass(parser, config())
    wanted = {f"--{name.replace('_', '-')}" for name in names}
    return [row_of(action) for action in parser._actions if set(action.option_strings) & wanted]


def own_fields(config: type, *others: type) -> list[str]:
    """Fields with a help that a dataclass has and others have not."""
    known = {flag_of(f) for other in others for f in fields(other)}
    return [f.name for f in fields(config) if f.name not in known and f.metadata.get("help")]


class Caught(Exception):
    """Carries the parser of a command that was about to read its command line."""


def parser_of(entry: str) -> argparse.ArgumentParser:
    """The parser of a command, given its entry point."""

    def catch(self, *args, **kwargs):
        raise Caught(self)

    module, function = entry.split(":")
    main = getattr(importlib.import_module(module), function)
    with (
        patch.object(argparse.ArgumentParser, "parse_args", catch),
        patch.object(argparse.ArgumentParser, "parse_intermixed_args", catch),
    ):
        try:
            main()
        except Caught as caught:
            return caught.args[0]
    raise RuntimeError(f"{entry} reads no command line")


def architectures() -> str:
    """Sizes by `--arch`, those that differ."""
    names = list(dict.fromkeys(name for sizes in PRESETS.values() for name in sizes))
    defaults = {f.name: f.default for f in fields(SmtLanguageModelConfig)}
    rows = []
    for name in names:
        values = [sizes.get(name, defaults[name]) for sizes in PRESETS.values()]
        rows.append([f"`--{name.replace('_', '-')}`", *(f"`{getattr(v, 'value', v)}`" for v in values)])
    return table(["flag", *(f"`{arch}`" for arch in PRESETS)], rows)


def left_open() -> str:
    """What a command line may leave out: optimizer, learning rate and batch size by `--arch` and `--criterion`."""
    rows = []
    for arch in PRESETS:
        for criterion in TRAINING:
            found = recipe(arch, criterion)
            rate, batch = found["optimization"]["lr"][0], found["dataset"]["batch_size"]
            rows.append([f"`{arch}`", f"`{criterion}`", f"`{found['optimizer']['_name']}`", f"`{rate}`", f"`{batch}`"])
    return table(["`--arch`", "`--criterion`", "`--optimizer`", "`--lr`", "`--batch-size`"], rows)


def sections() -> Iterator[tuple[str, str, str]]:
    """Heading, sentence and table of every part of the page of flags."""
    head = ["flag", "default", "what it does"]
    model = SmtLanguageModelConfig
    for title, part in (("RNN", RnnConfig), ("teacher", TeacherConfig), ("future predictor", FutureConfig)):
        names = [flag_of(f) for f in fields(part)]
        yield f"Model: {title}", f"Of `{part.__name__}` in `core/configs.py`.", table(head, of_dataclass(model, names))
    rest = own_fields(model, RnnConfig, TeacherConfig, FutureConfig)
    yield "Model: use", "How the model is used.", table(head, of_dataclass(model, rest))
    yield "Architectures", "Sizes by `--arch`. A flag on the command line comes first.", architectures()
    for name, config in (
        ("smt", SmtCriterionConfig),
        ("dmt", DmtCriterionConfig),
        ("chunked_bptt", ChunkedBpttCriterionConfig),
    ):
        rows = of_dataclass(config, own_fields(config))
        yield f"Criterion {name}", f"`--criterion {name}`.", table(head, rows)
    names = own_fields(SmtLanguageModelingConfig, LanguageModelingConfig)
    note = "`--task smt_lm`, beside the flags of fairseq's `language_modeling`."
    yield "Task smt_lm", note, table(head, of_dataclass(SmtLanguageModelingConfig, names))
    yield "Task smt_probe", "`--task smt_probe`.", table(head, of_dataclass(SmtProbeConfig, own_fields(SmtProbeConfig)))
    yield "What may be left out", "A command line that leaves one of these out gets the recipe's.", left_open()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for command, entry in sorted(scripts.items()):
        parser = parser_of(entry)
        first = (parser.description or "").strip().split("\n\n")[0].removeprefix(f"{command}: ")
        about = first[0].upper() + first[1:].replace("\n", " ")
        yield command, about, table(head, rows_of(parser))


def flags_page() -> str:
    parts = [
        "# Flags",
        "Every flag of the plugin and of its commands, with its default. "
        "fairseq's own flags are in `fairseq-train --help`.",
        MADE,
    ]
    for title, sentence, rows in sections():
        parts += [f"## {title}", sentence, rows]
    return "\n\n".join(parts) + "\n"


def places(package: str) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """The table in a package's docstring: places, and by which module what is changed there."""
    text = importlib.import_module(f"fairseq_smt.{package}").__doc__ or ""
    found: list[tuple[list[str], list[tuple[str, str]]]] = []
    for line in text.splitlines():
        if re.fullmatch(r"[\w.]+", line):
            if not found or found[-1][1]:
                found.append(([], []))
            found[-1][0].append(line)
        elif line.startswith("    ") and found:
            module = re.match(r"\s+`([\w.]+)`: (.*)", line)
            if module:
                found[-1][1].append((module[1], module[2]))
            else:
                by, what = found[-1][1].pop()
                found[-1][1].append((by, f"{what} {line.strip()}"))
    return found


def fairseq_page() -> str:
    rows: dict[str, list[list[str]]] = {}
    for package in ("compat", "console"):
        rows[package] = []
        for names, changes in places(package):
            where = "<br>".join(f"`{name}`" for name in names)
            for module, text in changes:
                what, _, until = text.partition(" Until ")
                path = module if "." in module else f"fairseq_smt.{package}.{module}"
                rows[package].append([where, f"`{path}`", what, until.removesuffix(".")])
                where = "the same"
    parts = [
        "# What is replaced in fairseq",
        "Everything outside of this package that an import of it changes, by place. "
        "A test compares both tables with what is changed.",
        MADE,
        "## By every import",
        "`fairseq_smt.compat` supplies what fairseq lacks on today's Python, torch and hydra.",
        table(["place", "by", "what", "until"], rows["compat"]),
        "## By commands only",
        "`fairseq_smt.console` is imported by `--user-dir` and by our own commands. A notebook does not get it.",
        table(["place", "by", "what"], [row[:3] for row in rows["console"]]),
    ]
    return "\n\n".join(parts) + "\n"


def refused_page() -> str:
    rows = [[f"`{row.flag}`", row.values or "any", f"… {row.sentence}"] for row in TABLE]
    parts = [
        "# Flags that are refused",
        "Values of fairseq's own flags that the tasks `smt_lm` and `smt_probe` cannot serve, or that would lose a run. "
        "They end a command before its first update, with the flag, its value and the sentence.",
        MADE,
        table(["flag", "values", "sentence"], rows),
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "docs/reference/flags.md": flags_page,
    "docs/reference/refused.md": refused_page,
    "docs/reference/fairseq.md": fairseq_page,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args().check
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if check and (not path.exists() or path.read_text() != text):
            raise SystemExit(f"{name} is stale: run python scripts/reference.py")
        if not check:
            path.write_text(text)
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
