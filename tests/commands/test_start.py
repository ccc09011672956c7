"""What a command prints and loads at its start, as a process of its own."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.commands import ROOT, TRAIN

NOT_NEEDED = {"torch._dynamo", "sympy", "matplotlib", "sentencepiece"}


def python(code: str, *arguments: object, cwd=ROOT) -> str:
    """What a fresh interpreter prints, with no say in which warnings it shows."""
    hidden = ("PYTHONWARNINGS", "LOGLEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def started(data, tmp_path_factory) -> str:
    """Output of two updates, and the names of the modules that they have loaded."""
    code = "import sys; from fairseq_cli.train import cli_main\nsys.argv[0] = 'fairseq-train'\ncli_main()\n"
    code += "print('loaded', *sys.modules)"
    flags = ["--criterion", "smt", "--max-update", 2, "--memory-width", 8, "--save-dir", "here"]
    folder = tmp_path_factory.mktemp("started")
    return python(
        code, data, "--user-dir", ROOT / "fairseq_smt", *TRAIN, *flags, "--tensorboard-logdir", "tb", cwd=folder
    )


def test_two_updates_print_what_a_user_can_act_on(started):
    lines = started.splitlines()
    assert "done training" in started and len(lines) <= 40
    for noise in ("Warning", "shared parameter", "can_reuse_epoch_itr", "(trunk)", "expert"):
        assert noise not in started


def test_two_updates_say_what_is_trained_and_where_it_goes(started):
    assert "criterion smt trains: teacher, future predictor, RNN" in started
    assert re.search(
        r"parameters: teacher [\d,]+, future predictor [\d,]+, RNN [\d,]+; memory 2 × 8, cell mlp", started
    )
    assert "blocks of 32 after a bos, at most 8 blocks per batch" in started
    assert "weights of the losses: future 0.5, readout 0.5," in started
    assert "--memory-width 8" in re.search("differ from the defaults in: (.*)", started)[1]
    saved, board = re.search("checkpoints: (.*); TensorBoard: (.*)", started).groups()
    assert saved.startswith("/") and saved.endswith("/here") and board.startswith("/") and board.endswith("/tb")


def test_training_loads_no_compiler_and_no_plots(started):
    loaded = set(re.search("^loaded (.*)", started, re.M)[1].split())
    assert "fairseq_smt.core.objectives" in loaded and not loaded & NOT_NEEDED


def test_the_core_loads_torch_alone():
    code = "import sys, fairseq_smt.core, fairseq_smt.core.objectives, fairseq_smt.core.language_model\n"
    code += "print(*sys.modules)"
    assert not set(python(code).split()) & (NOT_NEEDED | {"fairseq", "tensorboard", "scipy", "sklearn", "omegaconf"})


def test_optimizers_are_kept_out_of_compiled_code_once_there_is_a_compiler():
    code = """
import sys, torch, fairseq, fairseq_smt
from torch.optim import SGD, Optimizer
weight = torch.nn.Parameter(torch.ones(1))
optimizer = SGD([weight], lr=1.0)
weight.grad = torch.ones(1)
optimizer.zero_grad()
assert weight.grad is None and optimizer.state_dict()["param_groups"][0]["lr"] == 1.0
assert "torch._dynamo" not in sys.modules
import torch._dynamo
weight.grad = torch.ones(1)
optimizer.zero_grad()
assert weight.grad is None
plain = Optimizer.zero_grad.__wrapped__
assert getattr(plain, "__dynamo_disable").__module__.startswith("torch._dynamo"), "torch's own is not back"
"""
    python(code)
