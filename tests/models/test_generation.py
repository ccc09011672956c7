"""How many symbols follow a prompt: the real generator, on batches made as fairseq-interactive makes them."""

import fairseq  # noqa: F401
import pytest
from fairseq.dataclass.configs import GenerationConfig

import fairseq_smt
from fairseq_smt.data.probe_dataset import probe_dictionary
from fairseq_smt.data.probes import PROBES
from tests.support.models import build as smt_model

fairseq_smt.register()
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig, SmtLanguageModelingTask  # noqa: E402

LENGTHS = (5, 0, 1, 5)
"""Symbols of the prompts."""

ENDLESS = 10**6
"""A --min-len that no generation reaches, so that none ends by itself."""


def generate(bos: bool, one_by_one: bool = False, prefix_size: int = 0, **options) -> list[list[int]]:
    """Tokens of the best continuation per prompt, eos included."""
    dictionary = probe_dictionary(PROBES["retrieval"](8))
    task = SmtLanguageModelingTask(
        SmtLanguageModelingConfig(data=None, tokens_per_sample=8, add_bos_token=bos, max_update=1), dictionary
    )
    model = smt_model().eval()
    generator = task.build_generator([model], GenerationConfig(beam=2, max_len_b=7, **options))
    lines = [" ".join(dictionary.symbols[-4:-3] * length) for length in LENGTHS]
    tokens, lengths = task.get_interactive_tokens_and_lengths(lines, lambda line: line)
    dataset = task.build_dataset_for_inference(tokens, lengths)
    batches = [[i] for i in range(len(lines))] if one_by_one else [range(len(lines))]
    found = []
    for rows in batches:
        sample = dataset.collater([dataset[i] for i in rows])
        prefix = sample["target"][:, :prefix_size] if prefix_size else None
        found += task.inference_step(generator, [model], sample, prefix_tokens=prefix)
    return [hypotheses[0]["tokens"].tolist() for hypotheses in found]


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("bos", [True, False])
def test_so_many_symbols_follow_every_prompt(bos, one_by_one):
    found = generate(bos, one_by_one, max_len_a=1, min_len=ENDLESS)
    assert [len(tokens) - 1 for tokens in found] == [length + 7 for length in LENGTHS]
    assert all(tokens[-1] == 2 and 2 not in tokens[:-1] for tokens in found)


@pytest.mark.parametrize("bos", [True, False])
def test_a_given_prefix_is_the_prompt(bos):
    """As for fairseq-generate --prefix-size, whose source is a whole block."""
    found = generate(bos, max_len_a=1, min_len=ENDLESS, prefix_size=3)
    assert [len(tokens) - 1 for tokens in found] == [min(length, 3) + 7 for length in LENGTHS]


def test_without_it_the_prompt_counts():
    assert [len(tokens) - 1 for tokens in generate(True, min_len=7)] == [7, 7, 7, 7]
