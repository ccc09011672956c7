"""What `pip install .` gives a user who has no checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution

import fairseq_smt
from tests.support.commands import ROOT


def test_the_commands_work_after_a_plain_installation(tmp_path):
    source, site, here = (tmp_path / name for name in ("source", "site", "here"))
    shutil.copytree(ROOT / "fairseq_smt", source / "fairseq_smt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    here.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--no-compile", "--target", site, source], check=True, cwd=here)
    metadata = Distribution.at(next(site.glob("*.dist-info"))).metadata
    assert metadata["Version"] == fairseq_smt.__version__ and metadata["License-Expression"] == "MIT"
    assert fairseq_smt.FAIRSEQ in metadata.get_all("Requires-Dist")
    commands = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert commands and {path.name for path in (site / "bin").iterdir()} == set(commands)
    recipes = {path.relative_to(ROOT) for path in (ROOT / "fairseq_smt").rglob("*.yaml")}
    assert recipes and recipes == {path.relative_to(site) for path in site.rglob("*.yaml")}
    (here / "book.txt").write_text("To be, or not to be. " * 100)
    environment = os.environ | {"PYTHONPATH": str(site)}
    prepare = [sys.executable, site / "bin" / "fairseq-smt-prepare-text"]
    subprocess.run([*prepare, "--destdir", "data", "book.txt"], check=True, cwd=here, env=environment)
    decode = dict(input=b"T o \xe2\x96\x81 b e", capture_output=True, check=True, cwd=here, env=environment)
    assert (here / "data" / "dict.txt").exists() and subprocess.run([*prepare, "--decode"], **decode).stdout == b"To be"
