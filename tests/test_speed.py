"""The parts of benchmarks/speed.py at tiny sizes: every cell, head and model is there, and does what is timed."""

from argparse import Namespace

import pytest
import torch

import authors
import speed
import speed_cost
import speed_floor
import speed_inference
import speed_memory
import speed_updates
from cost import METHODS, Sizes
from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.teacher import HEADS

SIZES = Sizes(
    20,
    RnnConfig(4, 16, cell_hidden=16, cell_layers=1, cell_heads=2),
    TeacherConfig(trunk_width=16, trunk_layers=1, trunk_heads=2, teacher_window=8),
    FutureConfig(futures=4, future_width=16, future_heads=2),
)


@pytest.fixture
def args(tmp_path) -> Namespace:
    lengths = dict(lengths=[4, 8], inference_lengths=[3, 6], memory_lengths=[4, 8])
    few = dict(tokens=16, prompts=2, longest=5, rounds=1, seconds=0.0, threads=1, quick=True)
    return Namespace(**lengths, **few, device="cpu", output=tmp_path / "speed.md", parts=["updates"])


def test_updates_of_every_method_cell_and_head(args):
    summary, lines = speed_updates.part(args, SIZES)
    table = "\n".join(lines)
    for cell in CELLS:
        methods = 5 if cell in speed_updates.followers() else 2
        assert table.count(f"| {cell} |") == methods + (len(HEADS) - 1) * (cell == SIZES.rnn.cell)
    assert all(f"| {head} |" in table for head in HEADS) and "| nn.LSTM |" in table
    assert summary[0].startswith("SMT over BPTT of the same cell (mlp): ") and "at T = 8" in summary[0]


def test_the_floor_is_below_an_update(args):
    (row,), _ = speed_floor.part(args, SIZES)
    assert all(float(ratio) > 1 for ratio in (words.split()[-1] for words in row.split(", ")))


def test_memory_with_its_picture(args):
    (row,), lines = speed_memory.part(args, SIZES)
    assert all(method in row for method in METHODS)
    assert lines[-1] == "![MiB against T](speed_memory.png)"
    assert args.output.with_name("speed_memory.png").stat().st_size > 1000


def test_every_model_generates_as_many_tokens_and_scores_the_same_blocks():
    bench = speed_inference.Bench(SIZES, torch.device("cpu"))
    runs = bench.generation(rows=2, length=5)
    assert runs.pop(speed_inference.CORE)().shape == (2, 5)
    for run in runs.values():
        hypotheses = [row[0]["tokens"] for row in run()]
        assert [len(tokens) for tokens in hypotheses] == [speed_inference.PROMPT + 5 + 1] * 2  # and an eos
    runs = bench.scoring(rows=2, length=5)
    core = float(runs.pop(speed_inference.CORE)())
    assert float(runs["smt_lm"]()["loss"]) * 0.693147 == pytest.approx(core, rel=1e-4)
    assert all(run()["loss"] > 0 for run in runs.values())


def test_inference_has_all_models(args):
    summary, lines = speed_inference.part(args, SIZES)
    assert len(summary) == 7 and "over 5 tokens" not in summary[0] and summary[0].endswith(" over 5")
    assert sum(line.startswith("| transformer_lm |") for line in lines) == 2


def test_predictions_grow_with_the_block():
    _, lines = speed_cost.part(Namespace(), SIZES)
    rows = [line.split("|")[1:-1] for line in lines if "| BPTT |" in line]
    took = [float(row[-1].replace(",", "")) for row in rows]
    assert len(took) == len(speed_cost.LENGTHS) and took == sorted(took)


def test_a_page_has_date_commit_machine_and_summary_at_its_head(args, monkeypatch):
    monkeypatch.setitem(speed.PARTS, "updates", lambda *_: (["a ratio: 1.00"], ["## A part"]))
    lines = speed.page(args).splitlines()
    assert lines[0] == "# Speed" and "commit" in lines[2] and "torch" in lines[2]
    assert lines.index("- a ratio: 1.00") < lines.index("## A part")


def test_the_papers_code_is_compared_where_it_is(args, tmp_path):
    assert authors.part(Namespace(authors=None), SIZES) == ([], [])
    with pytest.raises(SystemExit, match="src/model.py is missing: name a checkout"):
        authors.compare(tmp_path, torch.device("cpu"), 1, 0)
