"""Every command and every program of README, tutorial and how-to pages runs, and prints what the page shows."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.pages import PAGES, Block, absent, blocks, clone, programs, promised, renewed, run

RUN = [ROOT / name for name in ("README.md", "docs/tutorial.md", "models/README.md")]
RUN += sorted((ROOT / "docs/how-to").glob("*.md"))
SHORT = {"UPDATES": 2, "EVERY": 1, "LENGTH": 80}
"""What shortens every page. A page says UPDATES=${UPDATES:-3000}."""

NOT_RUN = {
    "docs/how-to/several-processes.md": [
        "no machine with GPUs was at hand",
        "no machine with Slurm was at hand",
    ],
    "docs/results/2026-11-28-memory.md": ["needs the checkpoint of the how-to page, and minutes"],
    "docs/results/2026-11-28-text.md": ["needs the demo's data"],
    "docs/results/README.md": ["no GPU was at hand"],
}
"""Page → why its blocks that are not run are not."""


@pytest.fixture(scope="session")
def path(tmp_path_factory) -> Path:
    """A folder for PATH."""
    folder = tmp_path_factory.mktemp("path") / "venv" / "bin"
    programs(folder)
    (folder.parent / "installed").touch()  # the scripts take it for their environment
    return folder


@pytest.fixture(scope="session")
def started(path, tmp_path_factory) -> Path:
    """What the README's own commands leave behind, where the how-to pages go on."""
    folder = clone(tmp_path_factory.mktemp("readme"))
    run(ROOT / "README.md", folder, path, part="## Your own text", **SHORT)
    return folder


@pytest.fixture
def place(request, page, path, tmp_path) -> Iterator[Path]:
    """The folder that a page's commands find."""
    clone(tmp_path)
    if page.parent.name == "how-to":
        started = request.getfixturevalue("started")
        for name in ("data-bin", "checkpoints"):
            shutil.copytree(started / name, tmp_path / name)
    return tmp_path


def environment(page: Path, place: Path, path: Path) -> dict[str, object]:
    """What shortens a page, and what says where it runs."""
    if page == ROOT / "README.md":
        demo = {"DEMO_UPDATES": 2, "DEMO_DIR": place / "demo", "VENV": path.parent}
        return SHORT | demo | {"TEST_PROCESSES": 0, "PYTEST_ADDOPTS": "-p no:cacheprovider tests/test_files.py"}
    return SHORT | {"PORT": free_port()}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_runs(page, place, path, data):
    if page == ROOT / "README.md":
        (place / "demo").mkdir()
        shutil.copytree(data, place / "demo" / "data")  # the demo takes what is there for Shakespeare
    printed = run(page, place, path, **environment(page, place, path))
    assert printed, "a page of this kind has commands"
    for number, shown in promised(page):
        missing = absent(shown.text, printed[number]) if shown.kind == "output" else []
        assert not missing, f"{page.name} shows {missing}, but {printed[number][-3000:]}"


def test_what_is_not_run_is_said():
    found = {}
    for page in PAGES:
        reasons = [block.kind.partition("not run: ")[2] for block in blocks(page) if "not run" in block.kind]
        if reasons:
            found[str(page.relative_to(ROOT))] = reasons
    assert found == NOT_RUN


@pytest.mark.parametrize(
    "shown, printed, missing",
    [
        ("update 3: loss 2.54 bits", "  update 100: loss 3.1 bits\n", []),
        ("wrote …/data", "wrote /tmp/x/data\n", []),
        ("wrote data", "wrote daten\n", ["wrote data"]),
        ("a\nb", "b\n", ["a"]),
    ],
)
def test_an_output_is_compared_line_by_line_and_not_in_its_numbers(shown, printed, missing):
    assert absent(shown, printed) == missing


def test_an_output_is_renewed_by_the_last_lines_that_it_stands_for():
    log = "loss 3.1 | bits 9\nloss 2.5 | bits 8\n2026-01-01 00:00:00 | INFO | x\nend 7\n"
    shown = Block("output", "loss 0 | …\n… bits 0\nend 0\n")
    assert renewed(shown, log) == "loss 2.5 | …\n… bits 8\nend 7\n"
    assert renewed(Block("output", "loss 0 | …\nloss 0 | …\n"), log) == "loss 3.1 | …\nloss 2.5 | …\n"
    assert renewed(Block("sample", "nothing\n"), "2026-01-01 00:00:00 | INFO | x\na text\n") == "a text\n"
