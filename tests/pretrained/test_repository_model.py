"""The trained model of the repository: small, and as good as its card says."""

import math
import re

import pytest
import torch

from fairseq_smt.pretrained import Pretrained
from tests.support.commands import ROOT

MODELS = ROOT / "models"


def test_it_is_small_and_scores_what_its_card_says():
    assert sum(path.stat().st_size for path in (MODELS / "shakespeare").iterdir()) < 3 << 20
    lm = Pretrained.load(MODELS / "shakespeare")
    ids = lm.text.encode((MODELS / "macbeth.txt").read_text())
    with torch.no_grad():
        logits, _ = lm.rnn(torch.tensor([[lm.start, *ids[:-1]]]))
    bits = -logits[0].log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).mean() / math.log(2)
    card = re.search(r"`macbeth.txt`.*\| ([\d.]+) \|", (MODELS / "README.md").read_text())[1]
    assert float(bits) == pytest.approx(float(card), abs=6e-4)
