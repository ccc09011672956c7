"""Runs of fairseq-train on a probe."""

from tests.support.commands import run

PROBE = ["--user-dir", "fairseq_smt", "--task", "smt_probe", "--tokens-per-sample", 24, "--batch-size", 8, "--cpu"]
PROBE += ["--probe-epoch-size", 40, "--probe-valid-size", 32, "--optimizer", "adam", "--lr", "0.005"]
PROBE += ["--log-format", "json", "--log-interval", 1]
SMT = ["--arch", "smt_lm_tiny", "--criterion", "smt", "--future", "far", "--futures", 1, "--pursuit-weight", 0.3]


def train(folder, *flags) -> str:
    return run("fairseq-train", *PROBE, "--save-dir", folder, *flags)
