"""How benchmarks end: Markdown to a file or to stdout."""

import argparse
from pathlib import Path


def add_output_flag(parser: argparse.ArgumentParser) -> None:
    """`--output`."""
    parser.add_argument("--output", type=Path, help="Markdown file; stdout unless given")


def emit(text: str, output: Path | None) -> None:
    """Write or print a report."""
    if output:
        output.write_text(text)
        print(f"wrote {output}")
    else:
        print(text)
