"""The report as one HTML file, which loads nothing and in which whatever comes from files is text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from fairseq_smt.analysis.samples import Continuation
from fairseq_smt.reporting.settings import Setting
from fairseq_smt.reporting.tables import Row

CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)], "�")
"""Characters that HTML cannot hold."""


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, its title, and what is said below it."""

    title: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """A prompt with its continuations, by the names of runs."""

    runs: dict[str, Continuation]


@dataclass
class Page:
    """Everything that a report shows; what is empty is left out.

    Attributes:
        runs: colours by the names of the runs.
        glance, seconds: tables.
        shares: percent of each run's seconds, by phase.
        ceiling: the RNN against its ceiling.
        curves: pictures by the headings they stand under.
        memories: gradients, drift, loss by position, geometry.
        completions: an image grid.
        settings: flags that differ from their defaults or from run to run.
        missing: sentences.
        footer: date, version and command.
    """

    title: str
    runs: dict[str, str]
    glance: Sequence[Row] = ()
    seconds: Sequence[Row] = ()
    shares: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    ceiling: Picture | None = None
    curves: dict[str, list[Picture]] = field(default_factory=dict)
    memories: list[Picture] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    completions: Picture | None = None
    settings: Sequence[Setting] = ()
    missing: Sequence[str] = ()
    footer: str = ""

    def html(self) -> str:
        """The file's content."""
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_text
        )
        environment.filters["breakable"] = _breakable
        template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
        return template.render(page=self)


def _breakable(value: str) -> Markup:
    """Text that may be broken behind a `_`, `/` or `=`."""
    return Markup(re.sub("([_/=])", r"\1<wbr>", str(escape(_text(value)))))


def _text(value: object) -> object:
    return value.translate(CONTROLS) if type(value) is str else value
