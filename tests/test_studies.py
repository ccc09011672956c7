"""The studies of benchmarks/ at tiny sizes: they run to their end, go on, and name who wins on each axis."""

import json
import math
from pathlib import Path

import pytest

import pixels
import probes
import runs
import text
from axes import axes_table, common_level, cost_to
from methods import FAIRSEQ, METHODS, Entry, Stage, entries
from study import Study
from tests.support import commands

STAGE = Stage("one", "--flags", "rnn_nll", rates=(1.0, 2.0, 4.0))


class Landscape:
    """Runs whose last validation depends on the learning rate alone."""

    def __init__(self, folder: Path, of: dict[float, float], measure: str = "rnn_nll"):
        self.folder, self.of, self.measure = folder, of, measure
        self.tried: list[float] = []

    def train(self, name: str, flags: str, updates, validations: int) -> dict:
        rate = float(flags.split("--lr ")[1].split()[0])
        self.tried.append(rate)
        return self.result(name)

    def result(self, name: str) -> dict:
        rate = float(name.rpartition("one-")[2].split("-")[0])
        value = self.of.get(rate, math.nan)
        return {"curve": [] if math.isnan(value) else [{self.measure: value, "cost_seconds": 1.0}], "updates": 1}


def search(folder: Path, of: dict[float, float], stage: Stage = STAGE) -> tuple[list[float], list[float]]:
    found = Landscape(folder, of, stage.measure)
    good = Study(found, 8).search((stage,), "", 1.0)
    return good, found.tried


def test_a_search_widens_while_the_best_is_at_the_edge(tmp_path):
    valley = {2.0**i: abs(i - 4) + 1.0 for i in range(-9, 9)}
    assert search(tmp_path, valley) == ([16.0], [1, 2, 4, 8, 16, 32])
    assert search(tmp_path, valley | {2.0: 0.5}) == ([2.0], [1, 2, 4])
    falling = {2.0**i: float(i) for i in range(-9, 9)}
    assert search(tmp_path, falling) == ([0.125], [1, 2, 4, 0.5, 0.25, 0.125])


def test_a_search_goes_down_from_rates_that_do_not_stay_finite(tmp_path):
    assert search(tmp_path, {0.5: 2.0, 0.25: 3.0}) == ([0.5], [1, 2, 4, 0.5, 0.25])


def test_ties_end_a_search_and_the_longer_task_decides_them(tmp_path):
    stage = Stage("one", "--flags", "rnn_accuracy", rates=(1.0, 2.0, 4.0))
    flat = {1.0: 0.4, 2.0: 0.995, 4.0: 1.0}
    assert search(tmp_path, flat, stage) == ([4.0, 2.0], [1, 2, 4])
    longer = Landscape(tmp_path, {1.0: 1.0, 2.0: 0.8, 4.0: 0.2}, "rnn_accuracy")
    study = Study(Landscape(tmp_path, flat, "rnn_accuracy"), 8)
    assert study.tune((stage,), 1.0, Study(longer, 64)) == [2.0]
    assert sorted(longer.tried) == [2.0, 4.0], "only what is tied is tried at the longer length"
    assert study.tune((stage,), 1.0) == [4.0]


class TwoStages(Landscape):
    """The first stage has its own best learning rate, and the last does best after another."""

    def result(self, name: str) -> dict:
        first, *last = (float(part.split("-")[1]) for part in name.split("+"))
        value = abs(math.log2(last[0])) + abs(math.log2(first)) if last else -first
        return {"curve": [{"rnn_nll": value, "cost_seconds": 1.0}], "updates": 1}

    def checkpoint(self, name: str) -> Path:
        return self.folder / name


def test_the_first_stage_is_judged_by_the_last(tmp_path):
    stages = (Stage("one", "", "rnn_nll", 0.5, (1.0, 2.0, 4.0)), Stage("two", "", "rnn_nll", 0.5, (1.0, 2.0, 4.0)))
    assert Study(TwoStages(tmp_path, {}), 8).tune(stages, 1.0) == [1.0, 1.0]


CURVE = [
    {"cost_seconds": s, "cost_tokens": 10 * s, "cost_depth": 2.0, "quality": q} for s, q in ((1, 3), (2, 2), (4, 1))
]


def test_the_cost_of_a_quality_lies_on_the_line_between_validations():
    assert cost_to(CURVE, "cost_seconds", 3.5, -1) == 1
    assert cost_to(CURVE, "cost_seconds", 1.5, -1) == 3
    assert cost_to(CURVE, "cost_tokens", 2.5, -1) == 15
    assert cost_to(CURVE, "cost_seconds", 0.5, -1) == cost_to([], "cost_seconds", 0.5, -1) == math.inf
    assert cost_to(CURVE, "cost_seconds", 3, 1) == 1 and cost_to(CURVE, "cost_seconds", 3.5, 1) == math.inf


def test_the_winners_of_a_table():
    slow = [point | {"cost_seconds": 9 * point["cost_seconds"], "cost_depth": 1.0} for point in CURVE]
    better = [*slow, slow[-1] | {"quality": 0.5}]
    curves = {"A": [CURVE], "B": [better], "C": []}
    assert common_level(curves, -1) == 0.75
    assert common_level({"A": [CURVE, CURVE[:2]]}, -1) == 2, "its worst seed counts"
    lines = axes_table(curves, 2.0, -1, "bits")
    assert lines[2] == "| A | 1.000 | **2** | **20** | 2 |"
    assert lines[3] == "| B | **0.500** | 18 | 20 | **1** |"
    assert lines[4] == "| C | – | – | – | – |"
    assert lines[-1].startswith("Best on each axis: bits at the end: B; seconds to 2: A;")


def test_what_goes_together():
    found = entries(list(METHODS), ["gru", "lstm"], [0, 8])
    assert Entry("SMT → DMT", "gru", 8) in found and Entry("SMT → DMT", "lstm", 0) not in found
    assert Entry("BPTT", "lstm", 8) in found and Entry("carried BPTT", "gru", 8) not in found
    assert [e for e in found if e.method in FAIRSEQ] == [Entry(m, "", s) for m in FAIRSEQ for s in (0, 8)]
    assert str(Entry("BPTT", "lstm", 8)) == "BPTT, lstm, curriculum from 8" and str(Entry("lstm_lm")) == "lstm_lm"


@pytest.fixture
def quick(monkeypatch):
    """fairseq's commands in forks of a process that has imported them."""

    def seconds_of(command: list[str], log: Path, gpu: bool = False) -> float:
        status, output = commands.start(*command).wait()
        log.write_text(output)
        if status:
            raise SystemExit(output[-2000:])
        return 1.0

    monkeypatch.setattr(runs, "seconds_of", seconds_of)


def known(folder: Path, **rates: list[float]) -> None:
    """Write learning rates, so that nothing is tuned."""
    folder.mkdir(parents=True)
    (folder / "rates.json").write_text(json.dumps(rates))


def common(tmp_path: Path) -> list[str]:
    output = ["--output", str(tmp_path / "study.md"), "--figure", str(tmp_path / "study.png")]
    return ["--runs", str(tmp_path / "runs"), "--seeds", "1", "--validations", "2", *output]


def check(tmp_path: Path, labels: list[str]) -> dict:
    """The table has every row, and the picture every axis; what they were made from."""
    report = (tmp_path / "study.md").read_text()
    assert all(f"| {label} |" in report for label in labels), report
    assert "Best on each axis" in report and (tmp_path / "study.png").stat().st_size > 10000
    found = json.loads((tmp_path / "study.json").read_text())
    for curves in found["curves"].values():
        assert list(curves) == labels
        for curve in (curve for seeds in curves.values() for curve in seeds):
            for name in ("cost_seconds", "cost_tokens", "cost_depth"):
                costs = [point[name] for point in curve]
                assert costs == sorted(costs) and costs[0] > 0
    return found


@pytest.fixture
def unmeasured(monkeypatch):
    """Every update is taken to last so long that runs have as few as they may."""
    monkeypatch.setattr(runs.Runs, "seconds_per_update", lambda *args, **kwargs: 1.0)


def test_text(data, quick, unmeasured, tmp_path):
    known(tmp_path / "runs" / "32x4", **{"SMT → DMT, gru": [0.004, 0.004], "carried BPTT, gru": [0.004]})
    flags = [str(data), "--tokens-per-sample", "32", "--batch-size", "4", "--budgets", "0.3", "--cells", "gru"]
    text.main([*flags, "--methods", "SMT → DMT", "carried BPTT", *common(tmp_path)])
    found = check(tmp_path, ["SMT → DMT, gru", "carried BPTT, gru"])
    assert len(found["curves"][""]["SMT → DMT, gru"][0]) == 4, "two validations of each stage"


def test_probes(quick, unmeasured, tmp_path):
    """A study that goes on reads what is there."""
    known(tmp_path / "runs" / "retrieval-16", **{"BPTT, lstm, curriculum from 4": [0.004]})
    flags = ["--cases", "retrieval:16", "--budget", "0.3", "--methods", "BPTT", "--cells", "lstm", *common(tmp_path)]
    probes.main([*flags, "--curriculum-start", "4"])
    check(tmp_path, ["BPTT, lstm, curriculum from 4"])
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/*.json")}
    probes.main([*flags, "--curriculum-start", "0", "4", "--longer", "2"])
    check(tmp_path, ["BPTT, lstm", "BPTT, lstm, curriculum from 4"])
    assert made and all(path.stat().st_mtime_ns == time for path, time in made.items())
    assert "guessing 0.12 (retrieval)" in (tmp_path / "study.md").read_text()


@pytest.mark.parametrize("target", ["pixels", "class"])
def test_pixels(quick, unmeasured, tmp_path, target):
    classes = ["--classes"] if target == "class" else []
    commands.run("fairseq-smt-prepare-pixels", "--destdir", tmp_path / "digits", *classes)
    known(tmp_path / "runs", **{"SMT → DMT, scan, gru": [0.004, 0.004]})
    flags = [str(tmp_path / "digits"), "--budget", "0.3", "--methods", "SMT → DMT, scan", "--cells", "gru"]
    pixels.main([*flags, "--target", target, *common(tmp_path)])
    check(tmp_path, ["SMT → DMT, scan, gru"])
    with pytest.raises(SystemExit):
        pixels.main([*flags, "--target", "pixels" if classes else "class", *common(tmp_path)])


def test_a_run_of_other_flags_is_not_taken_for_this_one(quick, tmp_path):
    probe = "--task smt_probe --probe retrieval --tokens-per-sample 8 --probe-valid-size 8 --batch-size 4 --lr 0.001"
    flags = "--arch smt_lm_tiny --memory-head none --criterion cross_entropy --optimizer adam"
    found = runs.Runs(tmp_path, [], probe)
    result = found.train("run", flags, 4, validations=2)
    assert [point["num_updates"] for point in result["curve"]] == [2, 4] and result["updates"] == 4
    assert found.train("run", flags, 9) == result
    with pytest.raises(SystemExit, match="was made with other flags"):
        found.train("run", f"{flags} --clip-norm 1", 4)
    assert 0 < found.seconds_per_update("run", flags, 2, 4) < 10
    assert found.train("diverged", f"{flags} --lr 1e30", 4)["curve"] == []
