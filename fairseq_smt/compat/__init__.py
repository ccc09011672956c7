"""What fairseq lacks on today's Python, torch and hydra; importing this package supplies it."""

# ruff: noqa: E402, F401

from fairseq_smt.compat import versions

versions.check()  # before anything that needs them

from fairseq_smt.compat import (
    averaging,
    checkpoints,
    compilation,
    encoders,
    finite,
    flags,
    learning_rates,
    loading,
    parallel,
    quiet,
    resuming,
    saving,
    threads,
)
