"""The reference says what the code does: generated pages are fresh, and every metric that a run logs has its row."""

import re

import pytest
import torch
from fairseq import options

import reference
import sizes
from tests.support.commands import ROOT, fairseq
from tests.support.stages import flags_of
from tests.support.training import records
from updates import modules_of

OF_FAIRSEQ = {
    *("epoch", "update", "num_updates", "wps", "ups", "wpb", "bsz", "lr", "gnorm", "clip", "wall", "train_wall"),
    *("ppl", "loss_scale", "best_rnn_nll", "best_loss"),
}
"""What fairseq logs by itself."""


@pytest.mark.parametrize("name", list(reference.PAGES))
def test_a_generated_page_is_fresh(name):
    assert (ROOT / name).read_text() == reference.PAGES[name](), "run python scripts/reference.py"


def flags_of_line(monkeypatch, *line: str) -> set[str]:
    """What fairseq-train takes beside a command line."""
    monkeypatch.setattr("sys.argv", ["fairseq-train"])
    parser = options.get_training_parser()
    options.parse_args_and_arch(parser, list(line))
    return {action.option_strings[-1] for action in parser._actions if action.option_strings}


def test_every_flag_has_a_row(monkeypatch):
    """Every flag that fairseq-train takes for our tasks, model and criterions and not for its own."""
    page = (ROOT / "docs/reference/flags.md").read_text()
    own = flags_of_line(
        monkeypatch, "data", "--task", "language_modeling", "--arch", "transformer_lm", "--optimizer", "adam"
    )
    for task in ("smt_lm", "smt_probe"):
        for criterion in ("smt", "dmt", "chunked_bptt"):
            line = ["--task", task, "--arch", "smt_lm_small", "--criterion", criterion]
            ours = flags_of_line(monkeypatch, *(["data"] if task == "smt_lm" else []), *line) - own
            assert len(ours) > 20 and not {flag for flag in ours if f"`{flag}`" not in page}


def test_the_page_of_changes_names_every_place():
    page = (ROOT / "docs/reference/fairseq.md").read_text()
    for package in ("compat", "console"):
        text = (ROOT / "fairseq_smt" / package / "__init__.py").read_text().split('"""')[1]
        places = re.findall(r"^[\w.]+$", text, re.M)
        assert places and not {place for place in places if f"`{place}`" not in page}


def described() -> dict[str, set[str]]:
    """Metric → the criterions that log it, out of the page; a name of a series stands for all of it."""
    page, found = (ROOT / "docs/reference/metrics.md").read_text(), {}
    for names, criterions in re.findall(r"^\| (`.*?) \| (.*?) \|", page, re.M):
        for name in re.findall(r"`(\w+)`", names):
            found[re.sub(r"_\d+$", "_N", name)] = set(criterions.split(", "))
    return found


def logged(log: str) -> set[str]:
    names = {name for tag in ("train_inner", "train", "valid") for record in records(log, tag) for name in record}
    return {re.sub(r"_\d+$", "_N", name.removeprefix("train_").removeprefix("valid_")) for name in names}


@pytest.mark.parametrize("stage", ["smt", "dmt", "chunked_bptt", "cross_entropy"])
def test_every_metric_that_is_logged_has_a_row_and_every_row_is_logged(stage, data, trained, tmp_path):
    flags = [*flags_of(stage, trained, tmp_path), "--save-dir", tmp_path, "--log-format", "json", "--log-interval", 1]
    line = ["--task", "smt_lm", "--arch", "smt_lm_tiny", "--tokens-per-sample", 32, "--add-bos-token", "--cpu"]
    line += ["--batch-size", 8, "--optimizer", "adam", "--lr", 0.001, "--max-update", 2, "--curriculum-start", 8]
    found = logged(fairseq("train", data, *line, *flags)) - OF_FAIRSEQ
    page = described()
    wanted = {name for name, criterions in page.items() if criterions & {"all", stage}} - {"accuracy"}
    assert found == wanted, f"not on the page: {found - wanted}; on the page alone: {wanted - found}"


def test_the_table_of_sizes_counts_and_measures():
    row = sizes.row_of("smt_lm_tiny", most=256, number=1, device=torch.device("cpu"), at_least=0)
    modules = modules_of(sizes.sizes_of("smt_lm_tiny"))
    parts = (modules.rnn, modules.teacher, modules.future)
    assert row[1:4] == [sizes.millions(sum(p.numel() for p in part.parameters())) for part in parts]
    assert row[4:6] == ["2 × 16", "8 × 32"] and row[8] == "8 × 32"
    assert all(float(value.replace(",", "")) > 0 for value in row[9:])


def test_more_memory_is_computed_for_more_blocks():
    found = sizes.sizes_of("smt_lm_small")
    few, many = (sizes.mebibytes(sizes.smt(found, rows, 128), modules_of(found), "smt") for rows in (8, 16))
    assert few < many < 2 * few
