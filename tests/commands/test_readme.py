"""The README's own lines, shortened, in their order, and what they may leave out."""

import pytest

from tests.support.commands import ROOT, fairseq, run
from tests.support.readme import commands

SHORTER = {
    "5000": "2",
    "2500": "2",
    "500": "70",
    "300": "20",
    "optimization.max_update=2000": "optimization.max_update=2",
}


@pytest.fixture
def clone(data, tmp_path):
    """A folder in which the README's paths are right."""
    for name in ("fairseq_smt", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data-bin").mkdir()
    (tmp_path / "data-bin" / "mine").symlink_to(data)
    return tmp_path


def test_the_main_path(clone):
    found = commands("## The ordinary fairseq lines", "The baseline, BPTT")
    lines = [c for c in found if c[0].startswith("fairseq-") and not c[0].startswith("fairseq-smt-")]
    assert len(lines) == 6
    output = {}
    for line in lines:
        line = [SHORTER.get(word, word) for word in line]
        assert line[0] == "fairseq-eval-lm" or any(word in line for word in SHORTER.values()), "not shortened"
        stdin = "To be, or not\n" if line[0] == "fairseq-interactive" else None
        output[line[0]] = run(*line, "--cpu", cwd=clone, stdin=stdin)
    assert "bits per byte = bits per token" in output["fairseq-eval-lm"]
    assert "\nH-" in output["fairseq-generate"] and "\nD-0\t" in output["fairseq-interactive"]


def test_everything_but_the_plugin_has_a_default(data, tmp_path):
    plugin = ["--task", "smt_lm", "--arch", "smt_lm_tiny", "--criterion", "smt"]
    here = ["--max-update", 2, "--save-dir", tmp_path, "--disable-validation", "--required-batch-size-multiple", 1]
    output = fairseq("train", data, *plugin, *here)
    assert "'lr': [0.008]" in output and "done training" in output


def test_validating_a_probe_needs_no_batch_size(tmp_path):
    probe = ["--task", "smt_probe", "--probe", "parity", "--tokens-per-sample", 8, "--probe-valid-size", 16]
    train = ["--arch", "smt_lm_tiny", "--criterion", "smt", "--max-update", 1, "--futures", 2, "--save-dir", tmp_path]
    run("fairseq-train", "--user-dir", "fairseq_smt", *probe, *train, "--cpu", "--disable-validation")
    line = ["--user-dir", "fairseq_smt", "--task", "smt_probe", "--path", tmp_path / "checkpoint_last.pt"]
    output = run("fairseq-validate", *line, "--valid-subset", "test")
    assert "valid on 'test' subset | loss" in output
