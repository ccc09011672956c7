"""One step as a program: it runs where this package is not, for any batch."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.pretrained.program import save_program

ALONE = """
import sys, torch
from safetensors.torch import load_file
program = torch.export.load("step.pt2")
step, initial = program.module(), program.state_dict["initial"]
for batch in (1, 2, 50):
    found = load_file(f"{batch}.safetensors")
    memory = initial.expand(batch, -1, -1)
    for token in found["tokens"].T:
        logits, memory = step(token.contiguous(), memory)
    torch.testing.assert_close(logits, found["logits"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(memory, found["memory"], rtol=1e-5, atol=1e-6)
assert "fairseq_smt" not in sys.modules
"""


@pytest.mark.parametrize("cell", CELLS)
def test_a_program_takes_the_same_steps(tmp_path, cell):
    sizes = RnnConfig(4, 8, cell, cell_hidden=16, cell_layers=1, cell_heads=2, readout_hidden=4)
    rnn = RecurrentLanguageModel(11, sizes).eval().requires_grad_(False)
    save_program(rnn, tmp_path / "step.pt2")
    for batch in (1, 2, 50):
        tokens = torch.randint(11, (batch, 6))
        logits, memory = rnn(tokens)
        content = {"tokens": tokens, "logits": logits[:, -1].contiguous(), "memory": memory.contiguous()}
        save_file(content, tmp_path / f"{batch}.safetensors")
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
