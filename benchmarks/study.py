"""Methods of one or more stages, tuned alike and run under budgets of CPU-seconds."""

import json
import threading
from dataclasses import dataclass

from runs import Runs


@dataclass(frozen=True)
class Stage:
    """One fairseq-train of a method.

    Attributes:
        name: short; a stage after another is named by both.
        flags: what makes it.
        rates: learning rates to try.
        measure: what the validation judges it by: an accuracy, which should be high, or a loss.
        share: of the method's budget.
    """

    name: str
    flags: str
    rates: tuple[float, float, float]
    measure: str
    share: float = 1.0


def lstm(width: int, flags: str, rates: tuple[float, float, float], measure: str) -> Stage:
    """fairseq's own LSTM with one layer, as a baseline."""
    sizes = f"--decoder-embed-dim 64 --decoder-hidden-size {width} --decoder-out-embed-dim {width} --decoder-layers 1"
    return Stage("lstm", f"--arch lstm_lm {sizes} --dropout 0 --criterion cross_entropy {flags}", rates, measure)


class Study:
    """Runs of all methods; a run is named by its stages, so that methods share their first ones."""

    def __init__(self, runs: Runs):
        self.runs = runs
        self.rates_file = runs.folder / "rates.json"
        self.lock = threading.Lock()

    def run(self, before: str, stage: Stage, rate: float, budget: float, seed: int) -> str:
        """Train one stage after the run `before` ("" for none); its name."""
        start = f" --finetune-from-model {self.runs.checkpoint(before)}" if before else ""
        cost = self.runs.seconds_per_update(stage.name + "-after" * bool(before), f"{stage.flags} --lr 0.001{start}")
        seconds = budget * stage.share
        name = f"{before}+" * bool(before) + f"{stage.name}-{rate}-{seconds:g}s-{seed}"
        self.runs.train(name, f"{stage.flags} --lr {rate} --seed {seed}{start}", max(round(seconds / cost), 100))
        return name

    def tune(self, stages: tuple[Stage, ...], budget: float) -> list[float]:
        """The best learning rate of each stage, given the best ones of the stages before it."""
        before, best = "", []
        for stage in stages:
            names = {rate: self.run(before, stage, rate, budget, 1) for rate in stage.rates}
            sign = -1 if stage.measure.endswith("accuracy") else 1
            best.append(min(names, key=lambda rate, n=names, s=sign, m=stage.measure: s * self.runs.result(n[rate])[m]))
            before = names[best[-1]]
        return best

    def rates(self, method: str, stages: tuple[Stage, ...], budget: float) -> list[float]:
        """The learning rates that RUNS/rates.json has for a method; tuned, and written there, if it has none."""
        known = self._known_rates()
        if method not in known:
            tuned = self.tune(stages, budget)
            with self.lock:  # other methods may have been tuned meanwhile
                known = self._known_rates() | {method: tuned}
                self.rates_file.write_text(json.dumps(known, indent=1, ensure_ascii=False))
        return known[method]

    def _known_rates(self) -> dict[str, list[float]]:
        return json.loads(self.rates_file.read_text()) if self.rates_file.exists() else {}

    def final(self, stages: tuple[Stage, ...], rates: list[float], budget: float, seed: int) -> list[str]:
        """The runs of a method's stages."""
        names: list[str] = []
        for stage, rate in zip(stages, rates, strict=True):
            names.append(self.run(names[-1] if names else "", stage, rate, budget, seed))
        return names
