#!/usr/bin/env python3
"""Read the simple log of fairseq-train from stdin; print a short line per report, losses in bits."""

import re
import sys

SHOWN = ("num_updates", "trunk_nll", "future_nll", "rollout_nll", "ceiling_nll", "rnn_nll", "one_step_error")
SHOWN += ("rollout_drift", "chunk_length", "wall")

for line in sys.stdin:
    report = re.search(r"\| (train_inner|valid) \|", line)
    if report:
        found = dict(re.findall(r"(\w+)[= ]([\d.]+)(?=,| \||$)", line.rstrip()))
        shown = "  ".join(f"{name} {found[name]}" for name in SHOWN if name in found)
        print(f"{report.group(1):11} {shown}", flush=True)
    elif re.search(r"Error\b|error: |done training", line):
        print(line.rstrip(), flush=True)
