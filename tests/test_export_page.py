"""The commands and code of docs/export.md run, in their order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT

PAGE = (ROOT / "docs" / "export.md").read_text()
MODULES = {"fairseq-smt-export": "fairseq_smt.cli.export", "fairseq-smt-stream": "fairseq_smt.cli.stream"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(data, trained, tmp_path) -> Path:
    """A folder in which the page's paths are right."""
    (tmp_path / "checkpoints" / "dmt").mkdir(parents=True)
    (tmp_path / "checkpoints" / "dmt" / "checkpoint_best.pt").symlink_to(trained / "checkpoint_last.pt")
    (tmp_path / "data-bin").mkdir()
    (tmp_path / "data-bin" / "mine").symlink_to(data)
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    return tmp_path


def test_the_page(place):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    programs = {name: shlex.join([sys.executable, "-W", "ignore", "-m", module]) for name, module in MODULES.items()}
    lines[0] += " --program"
    code = "\n".join(blocks("python"))
    for line in [*lines, shlex.join([sys.executable, "-W", "ignore", "-c", code])]:
        for name, program in programs.items():
            line = line.replace(f"{name} ", f"{program} ")
        done = subprocess.run(line, shell=True, cwd=place, text=True, capture_output=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, (line, done.stderr[-2000:])
        assert done.stdout or "cli.export" in line, line
    assert len(lines) == 4
