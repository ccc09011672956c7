#!/usr/bin/env python3
"""Run the commands of a page of the documentation and write what they print into its outputs and samples.

    python scripts/run_page.py docs/tutorial.md
    python scripts/run_page.py docs/how-to/sample.md UPDATES=500 LENGTH=200

The page runs in a folder of its own that looks like a fresh clone. A how-to page goes on from the README's four
commands, which run first. NAME=VALUE sets a variable of the page, as in the environment of a reader.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.pages import FENCE, clone, programs, promised, renewed, run  # noqa: E402


def rewrite(page: Path, printed: dict[int, str]) -> None:
    """Put new numbers into the page's outputs, and new texts into its samples."""
    new = iter(
        renewed(block.text, printed[number]) if block.kind == "output" else f"{printed[number].strip()}\n"
        for number, block in promised(page)
    )

    def replace(match) -> str:
        kind = match[1].strip()
        return f"```{match[1]}\n{next(new)}```" if kind in ("output", "sample") else match[0]

    page.write_text(FENCE.sub(replace, page.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="Markdown file")
    parser.add_argument("variables", nargs="*", metavar="NAME=VALUE", help="variables of the page")
    args = parser.parse_args()
    page, variables = args.page.resolve(), dict(pair.split("=", 1) for pair in args.variables)
    with tempfile.TemporaryDirectory() as folder:
        path, place = Path(folder) / "venv" / "bin", Path(folder) / "clone"
        place.mkdir()
        clone(place)
        programs(path)
        (path.parent / "installed").touch()
        if page.parent.name == "how-to":
            run(ROOT / "README.md", place, path, part="## Your own text", **variables)
        rewrite(page, run(page, place, path, VENV=path.parent, **variables))
    print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
