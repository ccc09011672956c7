"""How benchmarks end: Markdown to a file or to stdout."""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any


def add_output_flag(parser: argparse.ArgumentParser) -> None:
    """`--output`."""
    parser.add_argument("--output", type=Path, help="Markdown file; stdout unless given")


def add_run_flags(parser: argparse.ArgumentParser, runs: str) -> None:
    """`--seeds`, `--jobs`, `--gpu` and `--runs`, the folder `runs` unless given."""
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU; budgets are then seconds, with --jobs 1")
    parser.add_argument("--runs", type=Path, default=Path(runs), help="where runs are kept")


def median_of(values: list[float], digits: int) -> str:
    """The median, and all values in brackets; runs that did not stay finite have none."""
    if not values:
        return "not finite"
    return f"{statistics.median(values):.{digits}f} ({', '.join(f'{v:.{digits}f}' for v in values)})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def emit(text: str, output: Path | None, found: Any = None) -> None:
    """Write or print a report; with a file, also what it was made from, as JSON beside it."""
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
        if found is not None:
            output.with_suffix(".json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(f"wrote {output}")
    else:
        print(text)
