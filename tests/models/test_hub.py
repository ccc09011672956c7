"""fairseq's hub interface on our checkpoints, as for its own language models."""

import math

import fairseq  # noqa: F401
import pytest
import torch

import fairseq_smt

fairseq_smt.register()
from fairseq_smt.models.smt_lm import SmtLanguageModel  # noqa: E402

TEXT = "The lambda\nand more "


@pytest.fixture(scope="module")
def hub(data, trained):
    return SmtLanguageModel.from_pretrained(str(trained), "checkpoint_last.pt", str(data)).eval()


def test_texts_go_there_and_back(hub):
    ids = hub.encode(TEXT)
    assert ids[-1] == 2 and len(ids) == len(TEXT) + 1 and hub.decode(ids) == TEXT


def test_scores_are_those_of_the_rnn(hub):
    found = hub.score(TEXT)
    ids = hub.encode(TEXT)[:-1]
    logits, _ = hub.models[0].rnn(torch.cat((torch.tensor([0]), ids[:-1]))[None])
    expected = logits[0].log_softmax(-1).gather(1, ids[:, None])[:, 0]
    torch.testing.assert_close(found["positional_scores"], expected)
    several = hub.score([TEXT, "an"])
    torch.testing.assert_close(several[0]["positional_scores"], expected)
    assert several[1]["score"].isfinite() and found["tokens"].tolist() == ids.tolist()
    assert math.exp(-float(found["score"])) < len(hub.src_dict) * 2


def test_samples_go_on_from_the_prompt(hub):
    greedy = hub.sample(TEXT, beam=1, max_len_a=1, max_len_b=12, min_len=10**6)
    assert greedy.startswith(TEXT) and len(greedy) == len(TEXT) + 12
    ids = torch.cat((torch.tensor([0]), hub.encode(TEXT)[:-1]))[None]
    allowed = torch.ones(len(hub.src_dict), dtype=torch.bool)
    allowed[:4] = False
    assert greedy == TEXT + hub.decode(hub.models[0].rnn.generate(ids, 12, temperature=0, allowed=allowed)[0])
    torch.manual_seed(0)
    drawn = hub.sample(["To", TEXT], beam=1, sampling=True, sampling_topp=0.9, max_len_a=1, max_len_b=12)
    assert drawn[0].startswith("To") and drawn[1].startswith(TEXT)
