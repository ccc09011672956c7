"""One beam without bookkeeping of beams: fairseq's symbols, scores and random numbers; where fairseq's loop stays."""

import fairseq  # noqa: F401
import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig

import fairseq_smt
from fairseq_smt.data.probe_dataset import probe_dictionary
from fairseq_smt.data.probes import PROBES
from tests.support.models import build

fairseq_smt.register()
from fairseq_smt.models.decoder import TeacherDecoder  # noqa: E402
from fairseq_smt.tasks import generation, one_beam  # noqa: E402
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig, SmtLanguageModelingTask  # noqa: E402

DICTIONARY = probe_dictionary(PROBES["retrieval"](8))
PAD, EOS, FIRST = DICTIONARY.pad(), DICTIONARY.eos(), DICTIONARY.nspecial
PROMPTS = {
    "one": [[5, 6, 7]],
    "empty": [[]],
    "unequal": [[5, 6, 7, 8, 9], [], [4], [9, 8, 7, 6, 5]],
    "eos inside": [[5, 6, 7, 8], [5, EOS, 7, 8], [5, 6, 7, EOS]],
    "longer than may be": [list(range(FIRST, FIRST + 10)) * 4, [5]],
    "three": [[5, 6], [7, 8], [9, 6]],
}
SETTINGS = {
    "greedy": {},
    "plain": {"sampling": True},
    "top k": {"sampling": True, "sampling_topk": 5},
    "top p": {"sampling": True, "sampling_topp": 0.7},
    "all of p": {"sampling": True, "sampling_topp": 1.0},
    "both": {"sampling": True, "sampling_topk": 5, "sampling_topp": 0.3},
    "warm": {"sampling": True, "sampling_topp": 0.9, "temperature": 1.7},
    "cold": {"temperature": 0.5},
    "shortest": {"sampling": True, "min_len": 20},
    "all full": {"min_len": 30},
    "unknown": {"sampling": True, "unkpen": -2},
    "no unknown": {"sampling": True, "unkpen": 2, "lenpen": 0.5},
    "sums": {"sampling": True, "unnormalized": True},
    "room": {"sampling": True, "max_len_a": 1, "max_len_b": 10},
}


def peaked():
    """A model that likes some symbols better than others, and eos now and then."""
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        model.rnn.readout.out.weight *= 4
        model.rnn.readout.out.bias[EOS] += 1
    return model


def task(bos: bool = True) -> SmtLanguageModelingTask:
    config = SmtLanguageModelingConfig(data=None, tokens_per_sample=8, add_bos_token=bos, max_update=1)
    return SmtLanguageModelingTask(config, DICTIONARY)


def continued(model, prompts, bos=True, **options) -> tuple[list[dict], float]:
    """The hypothesis of every prompt, and the random number after them."""
    generator = task(bos).build_generator([model], GenerationConfig(**{"beam": 1, "max_len_b": 30} | options))
    torch.manual_seed(1)
    width = max(len(prompt) for prompt in prompts)
    rows = torch.tensor([prompt + [PAD] * (width - len(prompt)) for prompt in prompts], dtype=torch.long)
    source = torch.cat((torch.full_like(rows[:, :1], EOS) if width else rows.new_full((len(rows), 1), EOS), rows), 1)
    sample = {"net_input": {"src_tokens": source, "src_lengths": source.ne(PAD).sum(1)}}
    found = task(bos).inference_step(generator, [model], sample, prefix_tokens=rows)
    assert all(len(hypotheses) == 1 for hypotheses in found)
    return [hypotheses[0] for hypotheses in found], float(torch.rand(()))


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_it_is_what_fairseqs_loop_gives(setting, prompts, monkeypatch):
    model, options, bos = peaked(), SETTINGS[setting], prompts != "three"
    monkeypatch.setattr(one_beam, "PIECE", 3)
    found, after = continued(model, PROMPTS[prompts], bos, **options)
    monkeypatch.setattr(generation, "serves", lambda generator: False)
    expected, then = continued(model, PROMPTS[prompts], bos, **options)
    assert after == then
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-6)
        one["positional_scores"].div_(2)  # as fairseq-generate does, outside inference mode


def test_rows_end_at_different_lengths():
    found, _ = continued(peaked(), PROMPTS["unequal"], sampling=True)
    lengths = {len(hypothesis["tokens"]) for hypothesis in found}
    assert len(lengths) > 1 and max(lengths) <= 31
    assert all(hypothesis["tokens"].tolist().index(EOS) == len(hypothesis["tokens"]) - 1 for hypothesis in found)


def serves(models=None, options=None, extra=None, **kwargs) -> bool:
    config = GenerationConfig(**{"beam": 1, "max_len_b": 30} | (options or {}))
    generator = task().build_generator(models or [build()], config, extra_gen_cls_kwargs=extra, **kwargs)
    return one_beam.serves(generator)


def test_other_searches_stay_with_fairseq():
    assert serves()
    for options in (
        {"beam": 2},
        {"beam": 2, "sampling": True},
        {"beam": 2, "diverse_beam_groups": 2},
        {"diversity_rate": 0.5},
        {"no_repeat_ngram_size": 2},
        {"match_source_len": True},
        {"constraints": "ordered"},
    ):
        assert not serves(options=options), options
    assert not serves([build(), build()])
    assert not serves(extra={"lm_model": build()})
    assert not serves(prefix_allowed_tokens_fn=lambda row, tokens: [FIRST])


def test_the_teacher_reads_the_whole_prefix():
    model = peaked()
    model.decoder = TeacherDecoder(DICTIONARY, model.rnn, model.teacher)
    assert not serves([model])
    found, _ = continued(model, PROMPTS["unequal"], sampling=True)
    assert [hypothesis["tokens"][:5].tolist() for hypothesis in found][0] == PROMPTS["unequal"][0]
