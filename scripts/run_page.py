#!/usr/bin/env python3
"""Run the commands of pages of the documentation and write what they print into the pages' outputs and samples.

    python scripts/run_page.py docs/tutorial.md
    python scripts/run_page.py docs/how-to/sample.md docs/how-to/export.md UPDATES=500 LENGTH=200

A page runs in a folder of its own that looks like a fresh clone. How-to pages go on from the README's four commands,
which run first, once. The commands are those beside this interpreter. NAME=VALUE sets a variable of all pages, as in
the environment of a reader.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.pages import FENCE, clone, promised, renewed, run  # noqa: E402


def rewrite(page: Path, printed: dict[int, str]) -> None:
    """Put new numbers into the page's outputs, and new texts into its samples."""
    new = iter(renewed(block, printed[number]) for number, block in promised(page))

    def replace(match) -> str:
        kind = match[1].strip()
        return f"```{match[1]}\n{next(new)}```" if kind in ("output", "sample") else match[0]

    page.write_text(FENCE.sub(replace, page.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="PAGE or NAME=VALUE", help="Markdown files; variables")
    words = parser.parse_args().words
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    pages = [Path(word).resolve() for word in words if "=" not in word]
    with tempfile.TemporaryDirectory() as folder:
        path, started = Path(sys.executable).parent, Path(folder) / "readme"
        if any(page.parent.name == "how-to" for page in pages):
            started.mkdir()
            run(ROOT / "README.md", clone(started), path, part="## Your own text", **variables)
        for number, page in enumerate(pages):
            place = Path(folder) / str(number)
            if page.parent.name == "how-to":
                shutil.copytree(started, place, symlinks=True)
            else:
                place.mkdir()
                clone(place)
            rewrite(page, run(page, place, path, VENV=path.parent, **variables))
            print(f"wrote {page.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main()
