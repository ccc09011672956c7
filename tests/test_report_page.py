"""The commands of docs/report.md run, in the order in which their files come to be."""

from pathlib import Path

import pytest

from tests.support.commands import ROOT, run
from tests.support.page import self_contained
from tests.support.readme import commands


@pytest.fixture
def place(data, trained, tmp_path) -> Path:
    """A folder in which the page's paths are right."""
    for name in ("dmt", "bptt"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "checkpoint_best.pt").symlink_to(trained / "checkpoint_best.pt")
    (tmp_path / "checkpoints" / "checkpoint_best.pt").symlink_to(trained / "checkpoint_best.pt")
    (tmp_path / "data-bin").mkdir()
    (tmp_path / "data-bin" / "mine").symlink_to(data)
    (tmp_path / "fairseq_smt").symlink_to(ROOT / "fairseq_smt")
    return tmp_path


def test_the_page(place, monkeypatch):
    from fairseq_smt.cli.report import main

    monkeypatch.chdir(place)
    report, train = commands(page="docs/report.md")
    assert report[0] == "fairseq-smt-report" and train[0] == "fairseq-train"
    main([*report[1:], "--cpu", "--sequences", "4"])
    assert "Report on SMT, SMT-DMT and BPTT" in self_contained((place / "report.html").read_text()).text
    run(*({"1000": "1", "500": "1"}.get(word, word) for word in train), "--cpu", "--valid-subset", "test", cwd=place)
    assert list((place / "tb" / "figures" / "figures").glob("events*"))
