"""Criterion plugins, one file per registered name."""

from fairseq_smt.criterions import smt  # noqa: F401
