"""Model plugins, one file per registered name."""

from fairseq_smt.models import smt_lm  # noqa: F401
