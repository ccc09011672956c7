#!/usr/bin/env python3
"""SMT, DMT and their baselines on probes of memory at equal seconds of training. Writes Markdown, and a picture.

    python benchmarks/probes.py --cases retrieval:64 retrieval:128 --output runs/probes.md --figure runs/probes.png

Every method tries learning rates at the first length of each probe with the curriculum that starts last, more of them
while the best is at the edge; where several are as good, the longest length decides. It then runs with the best one for
every length, curriculum and seed. Figures are accuracies of the RNN, from its initial memory, on 512 sequences not
trained on; half of them are validated on along a run. Runs are kept in --runs; an interrupted study goes on. The
learning rates found are in RUNS/PROBE-LENGTH/rates.json; a method that has some there is not tuned.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from fairseq_smt.data.probes import PROBES
from methods import METHODS, Entry, Setting, Stage, smt_dmt, stages_of
from report import median_of, table
from runs import Runs, kept
from scoring import accuracy_of
from study import Study, add_study_flags, conduct

COMMON = """--task smt_probe --probe-epoch-size 16384 --batch-size 16 --batch-size-valid 128 --num-workers 0
    --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1
    --lr-scheduler tri_stage --phase-ratio (0.02,0.68,0.3) --final-lr-scale 0.05"""
OURS = "--arch smt_lm_small --memory-width 32 --cell-hidden 128"
TEACHER = "--future-width 32 --memory-head scan"


@dataclass(frozen=True)
class Recipe:
    """What SMT → DMT needs to know about a probe: flags, and which share of the seconds SMT has."""

    future: str
    smt: str
    dmt: str
    share: float


def through(chunk: int, drift: float = 1.0) -> str:
    """DMT with gradients through whole chunks."""
    return f"--chunk {chunk} --drift-backprop {chunk} --ce-backprop {chunk} --drift-weight {drift} --batch-size 32"


FAR = "--future far --futures 1"
WINDOW = "--future window --futures 0"  # sees the inputs that decide the answer
MANY = "--batch-size 32 --future-weight 2 --readout-positions 8"
ADAPTIVE = "--drift-weight 1 --chunk-lengths adaptive --drift-backprop 1 --ce-backprop 0"
RECIPES = {
    "retrieval": Recipe(FAR, "--future-positions 16 --readout-positions 1 --dynamics-wait-below 2.5", through(32), 0.5),
    "copy": Recipe(FAR, f"--future-positions 16 {MANY} --dynamics-wait-below 2.5", through(16), 0.5),
    "stack": Recipe(WINDOW, f"{MANY} --dynamics-wait-below 2.5", through(16, drift=0.1), 0.4),
    "keys_values": Recipe(FAR, f"--future-positions 16 {MANY} --dynamics-wait-below 2.5", through(16), 0.5),
    "arithmetic": Recipe(WINDOW, f"{MANY} --dynamics-wait-below 2.0", through(16, drift=0.1), 0.4),
    "parity": Recipe(WINDOW, f"{MANY} --dynamics-wait-below 0.9", through(16, drift=0.1), 0.4),
}
"""The bits that the dynamics loss waits for are those below which the future predictor uses the memory."""

SMT_FLAGS = "--dynamics-weight 0.05 --pursuit-weight 0.3 --dynamics-ramp-updates 200"


def adaptive(s: Setting, cell: str) -> tuple[Stage, ...]:
    """DMT in chunks that grow, with a gradient through one step: what the ungated cell holds retrieval with."""
    return smt_dmt(replace(s, dmt=ADAPTIVE), cell, dmt="dmt-adaptive")


IN_ORDER = ("carried BPTT", "carried chunked BPTT")
ALL = {name: build for name, build in METHODS.items() if name not in IN_ORDER}  # a probe's sequences have no order
ALL |= {"SMT → DMT, adaptive chunks": adaptive}


@dataclass(frozen=True)
class Case:
    """A probe at a length."""

    probe: str
    length: int

    def __str__(self) -> str:
        return f"{self.probe}, T = {self.length}"


def parse_case(text: str) -> Case:
    """`retrieval:64` → a case."""
    probe, _, length = text.partition(":")
    if probe not in RECIPES or not length.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not PROBE:LENGTH with one of {', '.join(RECIPES)}")
    return Case(probe, int(length))


def setting_of(case: Case) -> Setting:
    """The recipe of a probe at a length."""
    recipe = RECIPES[case.probe]
    return Setting(
        case.length,
        ours=OURS,
        rows="",
        teacher=f"{TEACHER} {recipe.future}",
        smt=f"{SMT_FLAGS} {recipe.smt}",
        dmt=recipe.dmt,
        width=128,
        quality="accuracy",
        share=recipe.share,
        valid_batches=2,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", type=parse_case, required=True, metavar="PROBE:LENGTH")
    parser.add_argument("--budget", type=float, default=60, help="seconds of a run, all stages together")
    parser.add_argument("--longer", nargs="+", type=int, default=[], metavar="N", help="also score at N × the length")
    add_study_flags(parser, list(ALL), "runs/probes", starts=[0, 8])
    parser.set_defaults(level=0.9)
    args = parser.parse_args(argv)
    settings = {case: setting_of(case) for case in args.cases}

    def study(case: Case) -> Study:
        common = f"{COMMON} --probe {case.probe} --tokens-per-sample {case.length} {settings[case].valid}"
        folder = args.runs / f"{case.probe}-{case.length}"
        return Study(Runs(folder, [], common, args.gpu), case.length, args.validations)

    def stages(case: Case, entry: Entry) -> tuple[Stage, ...]:
        return stages_of(ALL[entry.method], settings[case], entry)

    first = {case.probe: case for case in reversed(args.cases)}
    longest = {case.probe: case for case in sorted(args.cases, key=lambda case: case.length)}
    studies = {case: study(case) for case in args.cases}
    found = conduct(
        args, studies, stages, [args.budget], lambda case: first[case.probe], lambda case: longest[case.probe]
    )

    def accuracies(times: int) -> list[str]:
        """A row for every entry, and for the stages of SMT → DMT."""
        rows = []
        for entry in found.entries:
            shown = [(str(entry), -1, {})]
            if entry.method == "SMT → DMT":
                shown = [
                    (f"{entry}: teacher", 0, {"score_with": "teacher"}),
                    (f"{entry}: RNN after SMT alone", 0, {}),
                    *shown,
                ]
            for name, stage, overrides in shown:
                cells = []
                for case in args.cases:

                    def score(path: Path, case=case, overrides=overrides) -> float:
                        longer = {"tokens_per_sample": times * case.length}
                        what = path.with_name(f"accuracy{'-of-teacher' * bool(overrides)}-times-{times}.json")
                        return kept(what, lambda: accuracy_of(path, "valid", overrides | longer))

                    cells.append(median_of(found.each(case, entry, args.budget, score, stage), 2))
                rows.append([name, *cells])
        title = "method" if times == 1 else f"{times} times the length trained on"
        return table([title, *map(str, args.cases)], rows)

    lines = [
        f"`python {' '.join(sys.argv)}`: accuracy after {args.budget:g} seconds, median (all) of seeds "
        f"{', '.join(map(str, args.seeds))}; guessing "
        + ", ".join(f"{PROBES[probe](case.length, 1).chance:.2f} ({probe})" for probe, case in first.items())
        + ".",
    ]
    for times in [1, *args.longer]:
        lines += ["", *accuracies(times)]
    lines += ["", "Learning rates, of every stage:", ""]
    for probe, case in first.items():
        used = {f"{e.method}, {e.cell}".strip(", "): found.used(case, e) for e in found.entries}
        lines.append(f"- {probe}, chosen at T = {case.length}: {'; '.join(f'{k} {v}' for k, v in used.items())}")
    found.report(lines, "rnn_accuracy", "accuracy", args.budget, args.level)


if __name__ == "__main__":
    main()
