"""The pages of the documentation: their blocks, how a shell runs them, and their links.

A block of a page is marked by the words after its fence:

    bash            a command; every one is run, in the order of the page, in one shell
    bash not run: … the same, with the reason why no test can run it
    python          a part of the page's one program, which is run after its commands
    python FILE     the content of a file that the commands find
    output          what the block before it prints: the same lines, other numbers; an … stands for anything
    sample          all that the block before it prints, when it was last run; nothing is compared
"""

import gzip
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

from tests.support.commands import ROOT, server

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
MARK = "~~ block {}"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str
    """The words after its fence."""
    text: str


def blocks(page: Path, part: str = "") -> list[Block]:
    """The fenced blocks of a page, in its order, or those between a heading of the second level and the next."""
    text = page.read_text()
    if part:
        text = text[text.index(f"\n{part}") + 1 :]
        text = text[: text.index("\n## ") + 1] if "\n## " in text else text
    return [Block(kind.strip(), text) for kind, text in FENCE.findall(text)]


def shell(page: Path, part: str = "") -> str:
    """The commands of a page as one script, which says before each block which one it is."""
    parts = ["set -eo pipefail\n"]
    for number, block in enumerate(blocks(page, part)):
        if block.kind == "bash":
            parts += [f"printf '\\n{MARK.format(number)}\\n'\n", block.text]
    return "".join(parts)


def programs(folder: Path) -> None:
    """A folder for PATH: the commands of an installation, each started at once, and the interpreter."""
    folder.mkdir(parents=True)
    server().programs(folder)
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)


def clone(folder: Path) -> Path:
    """A folder that looks like a fresh clone in which the reader has put a book and some images."""
    for name in (*PLACES, "models", "pyproject.toml", "setup.py"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "book.txt").write_text("".join(topics[name] for name in sorted(topics)[:24])[:60_000])
    (folder / "mnist").mkdir()
    for split, number in (("train", 40), ("t10k", 10)):
        images = struct.pack(">4i", 0x803, number, 28, 28) + bytes(i % 256 for i in range(number * 28 * 28))
        classes = struct.pack(">2i", 0x801, number) + bytes(i % 10 for i in range(number))
        for kind, content in (("images-idx3", images), ("labels-idx1", classes)):
            (folder / "mnist" / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return folder


def run(page: Path, folder: Path, path: Path, part: str = "", **environment: object) -> dict[int, str]:
    """Run the commands of a page in a folder, and then its program; what they print, by the number of the block.

    Args:
        path: the folder that `programs` filled.
        part: only the blocks under this heading.
        environment: what shortens the page.
    """
    found = blocks(page, part)
    for block in found:
        if file := block.kind.partition("python ")[2]:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(block.text)
    script = folder / f"{page.stem}.sh"
    script.write_text(shell(page, part))
    names = {
        "PATH": f"{path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    names |= {name: str(value) for name, value in environment.items()}
    options = dict(cwd=folder, env=os.environ | names, stdin=subprocess.DEVNULL, text=True)
    taken = subprocess.run(["bash", script.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    printed = dict(re.findall(r"^~~ block (\d+)\n(.*?)(?=\n~~ block|\Z)", taken.stdout, re.DOTALL | re.MULTILINE))
    last = max(map(int, printed), default=None)
    assert taken.returncode == 0, f"{page.name}\n{found[last].text}\n{printed[str(last)][-3000:]}"
    code = "\n".join(block.text for block in found if block.kind == "python")
    if code:
        done = subprocess.run([path / "python", "-c", code], capture_output=True, **options)
        assert done.returncode == 0, f"{page.name}\n{done.stderr[-3000:]}"
        printed["-1"] = done.stdout
    return {int(number): text for number, text in printed.items()}


def promised(page: Path) -> Iterator[tuple[int, Block]]:
    """The outputs and samples that a page shows, each with the number of the block that prints it (-1: the program)."""
    before = None
    for number, block in enumerate(blocks(page)):
        if block.kind in ("bash", "python"):
            before = number if block.kind == "bash" else -1
        elif block.kind in ("output", "sample"):
            assert before is not None, f"{page.name}: output of nothing: {block.text}"
            yield before, block


def pattern(line: str) -> re.Pattern:
    """What a shown line stands for: its words, any numbers, and anything for an …; a group for each number."""
    parts = re.split(r"(…|\d[\d.,]*\d|\d)", line.strip())
    words = [re.sub(r"(\\ )+", r"\\s+", re.escape(part)) for part in parts]
    words[1::2] = [".*" if part == "…" else r"([\d.,]*\d)" for part in parts[1::2]]
    return re.compile(rf"\s*{''.join(words)}\s*")


def absent(shown: str, printed: str) -> list[str]:
    """Lines of a shown output that were not printed."""
    lines = printed.splitlines()
    wanted = filter(None, map(str.strip, shown.splitlines()))
    return [line for line in wanted if not any(map(pattern(line).fullmatch, lines))]


def renewed(block: Block, printed: str) -> str:
    """A shown block as it is to be: a sample anew, an output with the numbers of the last lines that it stands for."""
    if block.kind == "sample":
        return "\n".join(line for line in printed.strip().splitlines() if not LOGGED.match(line)) + "\n"
    lines, found, below = printed.splitlines(), [], None
    for line in reversed(block.text.splitlines()):
        wanted = pattern(line)
        if wanted == below:  # lines of one form stand for several; of two forms, they may show parts of one
            lines.pop()
        below = wanted
        matches = [i for i, text in enumerate(lines) if line.strip() and wanted.fullmatch(text)]
        if matches:
            lines = lines[: matches[-1] + 1]
            numbers = iter(wanted.fullmatch(lines[-1]).groups())
            line = re.sub(r"\d[\d.,]*\d|\d", lambda _: next(numbers), line)  # noqa: B023  (used at once)
        found.insert(0, line)
    return "\n".join(found) + "\n"


LOGGED = re.compile(r"\d{4}-\d\d-\d\d |INFO:|WARNING:")
"""How a line of a log begins."""


# --- links ---


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("\n", page.read_text())


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings as GitHub writes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found | set(re.findall(r'<a (?:id|name)="(.*?)"', page.read_text()))


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="(.*?)"', text)


PLACES = ("fairseq_smt", "tests", "docs", "examples", "benchmarks", "scripts", "user_dir")
INSIDE = ("core", "data", "models", "tasks", "criterions", "cli", "compat", "console", "config", "pretrained")


def named_files(page: Path) -> set[Path]:
    """Files and folders of the repository that a page names between backticks, seen from its root or the package."""
    found = set()
    for span in re.findall(r"`([^`\n]+)`", prose(page)):
        for name in re.findall(rf"(?<![\w/.$-])((?:{'|'.join(PLACES + INSIDE)})/[\w./-]*\w)", span):
            inside = name.split("/")[0] in INSIDE
            found.add(ROOT / "fairseq_smt" / name if inside else ROOT / name)
    return found
