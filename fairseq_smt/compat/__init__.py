"""What fairseq lacks on today's Python, torch and hydra; importing this package supplies it."""

from fairseq_smt.compat import versions

versions.check()  # before anything that needs them

from fairseq_smt.compat import averaging, checkpoints, copying, encoders, flags, loading, parallel, schedules, threads  # noqa: E402, F401
