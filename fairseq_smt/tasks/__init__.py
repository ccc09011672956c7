"""Task plugins, one file per registered name."""

from fairseq_smt.tasks import smt_lm, smt_probe  # noqa: F401
