"""The examples run, where fairseq is not installed."""

import re
import subprocess
import sys

from tests.support.commands import ROOT


def test_smt_and_dmt_in_plain_torch():
    """The RNN learns in both stages: less than the 6.7 bits of guessing one of 103 characters, and less again."""
    code = "import runpy, sys; sys.modules['fairseq'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    program = f"import sys; sys.argv = sys.argv[1:]; {code}"
    command = [sys.executable, "-c", program, ROOT / "examples" / "train_without_fairseq.py", "--updates", "40"]
    done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    bits = {name: float(value) for name, value in re.findall(r"^  (.+?)  +([\d.]+)$", done.stdout, re.M)}
    assert 5.5 > bits["RNN alone after SMT"] > bits["RNN alone after SMT and DMT"] > 1, done.stdout
    assert done.stdout.splitlines()[-1]
