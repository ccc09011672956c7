"""A checkpoint and an exported RNN from before: they load, and give the logits that they gave."""

from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch
from fairseq import checkpoint_utils
from safetensors.torch import load_file

import fairseq_smt
from fairseq_smt.core.language_model import RecurrentLanguageModel
from tests.support.commands import ROOT, fairseq, run

fairseq_smt.register()

EARLIER = Path(__file__).parent / "earlier"
SIZES = ["--memory-tokens", 2, "--memory-width", 8, "--cell-hidden", 8, "--trunk-width", 16]
SIZES += ["--futures", 2, "--future-width", 8]


@pytest.fixture(scope="module")
def logits() -> dict[str, torch.Tensor]:
    return load_file(EARLIER / "logits.safetensors")


@pytest.fixture(scope="module")
def bytes_data(tmp_path_factory) -> Path:
    """Data whose dictionary is that of every text as bytes."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "text").write_text(topics["lambda"] * 40)
    run(
        "python",
        ROOT / "scripts/prepare_text.py",
        "--vocabulary",
        "byte",
        "--destdir",
        folder / "data",
        folder / "text",
    )
    return folder / "data"


@torch.no_grad()
def test_a_checkpoint_from_before_loads_and_scores_as_it_did(bytes_data, logits):
    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(EARLIER / "checkpoint.pt")], {"data": str(bytes_data)}
    )
    model.eval()
    torch.testing.assert_close(model(logits["tokens"])[0], logits["rnn"])
    torch.testing.assert_close(model.rnn.readout(model.teacher.labels(logits["tokens"])), logits["ceiling"])
    assert model.has_trained_teacher


@torch.no_grad()
def test_an_exported_rnn_from_before_loads_and_gives_its_logits(logits):
    rnn = RecurrentLanguageModel.load(EARLIER / "rnn.safetensors")
    torch.testing.assert_close(rnn(logits["tokens"])[0], logits["rnn"])


def test_dmt_starts_from_a_checkpoint_from_before(bytes_data, tmp_path):
    flags = ["--task", "smt_lm", "--arch", "smt_lm_tiny", "--criterion", "dmt", "--train", "rnn", *SIZES]
    flags += ["--tokens-per-sample", 32, "--add-bos-token", "--max-update", 2, "--save-dir", tmp_path, "--cpu"]
    fairseq("train", bytes_data, *flags, "--finetune-from-model", EARLIER / "checkpoint.pt")
    assert (tmp_path / "checkpoint_last.pt").exists() or (tmp_path / "checkpoint_best.pt").exists()
