#!/usr/bin/env python3
"""SMT, DMT and their baselines on one text at equal CPU-seconds. Writes Markdown.

    python scripts/prepare_shakespeare.py --destdir data-bin/shakespeare
    python benchmarks/text.py data-bin/shakespeare --output docs/text.md

Every method first tries three learning rates under the budget --tune on the validation split, then runs with the best
one under every budget of --budgets and for every seed, and is scored by fairseq-eval-lm on the test split. A budget
counts the updates only: their number follows from the CPU time of one, measured before. Runs are kept in --runs; an
interrupted study goes on.
"""

import argparse
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runs import Runs

BLOCKS = "--task smt_lm --tokens-per-sample 128 --add-bos-token"
COMMON = f"""{BLOCKS} --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1 --batch-size-valid 64
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
OURS = "--arch smt_lm_small"


@dataclass(frozen=True)
class Stage:
    """One fairseq-train of a method.

    Attributes:
        flags: what makes it.
        rates: learning rates to try.
        share: of the method's budget.
        measure: what the validation judges it by.
    """

    flags: str
    rates: tuple[float, float, float]
    share: float
    measure: str


SMT = Stage(f"{OURS} --criterion smt --batch-size 8", (0.004, 0.008, 0.016), 0.5, "ceiling_nll")
DMT = Stage(f"{OURS} --criterion dmt --train rnn --batch-size 16", (0.005, 0.01, 0.02), 0.5, "rnn_nll")
PAPER = Stage(
    f"{OURS} --criterion dmt --train rnn --batch-size 16 --rollout sequential --drift-weight 10 --drift-backprop 1 "
    "--ce-backprop 0",
    (0.001, 0.003, 0.01),
    0.5,
    "rnn_nll",
)
BPTT = f"{OURS} --memory-head none --criterion cross_entropy --batch-size 16"
METHODS: dict[str, tuple[Stage, ...]] = {
    "SMT → DMT": (SMT, DMT),
    "BPTT": (Stage(BPTT, (0.002, 0.004, 0.008), 1, "loss"),),
    "SMT → DMT, the paper's": (SMT, PAPER),
    "chunked BPTT": (
        Stage(
            f"{OURS} --memory-head none --criterion chunked_bptt --batch-size 16", (0.004, 0.008, 0.016), 1, "rnn_nll"
        ),
    ),
    "SMT → DMT → BPTT": (
        SMT,
        Stage(DMT.flags, DMT.rates, 0.25, "rnn_nll"),
        Stage(BPTT, (0.0005, 0.001, 0.002), 0.25, "loss"),
    ),
    "LSTM (fairseq's lstm_lm, 1 × 256)": (
        Stage(
            "--arch lstm_lm --decoder-embed-dim 64 --decoder-hidden-size 256 --decoder-out-embed-dim 256 "
            "--decoder-layers 1 --dropout 0 --criterion cross_entropy --batch-size 16",
            (0.004, 0.008, 0.016),
            1,
            "loss",
        ),
    ),
}


class Study:
    """Runs of all methods; a stage is named by what came before it, so that methods share their first stages."""

    def __init__(self, runs: Runs):
        self.runs = runs

    def run(self, before: str, stage: Stage, rate: float, budget: float, seed: int) -> str:
        """Train one stage after the run `before` ("" for none); its name."""
        kind = stage.flags.split("--criterion ")[1].split()[0] + ("-paper" if stage is PAPER else "")
        if "lstm_lm" in stage.flags:
            kind = "lstm"
        flags = f"{stage.flags} --lr {rate} --seed {seed}"
        if before:
            flags += f" --finetune-from-model {self.runs.checkpoint(before)}"
        updates = round(budget * stage.share / self.cost(stage, kind, before))
        name = f"{before}+" * bool(before) + f"{kind}-{rate}-{budget * stage.share:g}s-{seed}"
        self.runs.train(name, flags, max(updates, 100))
        return name

    def cost(self, stage: Stage, kind: str, before: str) -> float:
        start = f" --finetune-from-model {self.runs.checkpoint(before)}" if before else ""
        return self.runs.seconds_per_update(kind + "-tune" * bool(before), f"{stage.flags} --lr 0.001{start}")

    def tune(self, stages: tuple[Stage, ...], budget: float) -> list[float]:
        """The best learning rate of each stage, given the best ones of the stages before it."""
        before, best = "", []
        for stage in stages:
            names = {rate: self.run(before, stage, rate, budget, 1) for rate in stage.rates}
            score = {rate: self.runs.result(name)[stage.measure] for rate, name in names.items()}
            best.append(min(score, key=score.get))
            before = names[best[-1]]
        return best

    def final(self, stages: tuple[Stage, ...], rates: list[float], budget: float, seed: int) -> list[str]:
        """The runs of a method's stages."""
        names: list[str] = []
        for stage, rate in zip(stages, rates, strict=True):
            names.append(self.run(names[-1] if names else "", stage, rate, budget, seed))
        return names

    def bits(self, name: str, what: str = "rnn") -> float:
        """Bits per test symbol of a run's model alone, or of its ceiling."""
        overrides = {"rnn": "{'memory_head': 'none'}", "ceiling": "{'score_with': 'teacher'}"}
        return self.runs.test_bits(name, BLOCKS, what, "{}" if name.startswith("lstm") else overrides[what])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--tune", type=float, default=120, help="CPU-seconds of a method for each learning rate")
    parser.add_argument("--budgets", nargs="+", type=float, default=[120, 360], help="CPU-seconds of the final runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/text"), help="where runs are kept")
    parser.add_argument("--output", type=Path, help="Markdown file; stdout unless given")
    args = parser.parse_args()
    if not (args.data / "dict.txt").is_file():
        parser.error(f"{args.data / 'dict.txt'} does not exist: DATA must be a folder written by fairseq-preprocess")
    study = Study(Runs(args.runs, [str(args.data)], COMMON))
    methods = {name: METHODS[name] for name in args.methods}
    with ThreadPoolExecutor(args.jobs) as pool:
        rates = dict(zip(methods, pool.map(lambda s: study.tune(s, args.tune), methods.values()), strict=True))
        lines = [
            f"`python {' '.join(sys.argv)}`: bits per test symbol, median (all) of seeds "
            f"{', '.join(map(str, args.seeds))}; CPU-seconds of all stages together.",
            "",
            f"| model | learning rates | {' | '.join(f'{budget:g} s' for budget in args.budgets)} |",
            "|---" * (len(args.budgets) + 2) + "|",
        ]
        cells: dict[str, list[str]] = {}
        for budget in args.budgets:
            jobs = [(name, seed) for name in methods for seed in args.seeds]
            runs = [pool.submit(study.final, methods[name], rates[name], budget, seed) for name, seed in jobs]
            found = {job: run.result() for job, run in zip(jobs, runs, strict=True)}
            rows = {name: [study.bits(found[name, seed][-1]) for seed in args.seeds] for name in methods}
            if "SMT → DMT" in methods:
                stages = [found["SMT → DMT", seed][0] for seed in args.seeds]
                rows["after SMT alone (half the seconds)"] = [study.bits(name) for name in stages]
                rows["ceiling (half the seconds)"] = [study.bits(n, "ceiling") for n in stages]
            for name, values in rows.items():
                shown = f"{statistics.median(values):.3f} ({', '.join(f'{v:.3f}' for v in values)})"
                cells.setdefault(name, []).append(shown)
        for name, values in cells.items():
            used = ", ".join(f"{rate:g}" for rate in rates.get(name, []))
            lines.append(f"| {name} | {used} | {' | '.join(values)} |")
    text = "\n".join(lines) + "\n"
    if args.output:
        args.output.write_text(text)
        print(f"wrote {args.output}")
    else:
        print(text)


if __name__ == "__main__":
    main()
