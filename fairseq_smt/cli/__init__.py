"""Commands beside those of fairseq."""
