"""Criterion plugins, one file per registered name."""

from fairseq_smt.criterions import chunked_bptt, dmt, smt  # noqa: F401
