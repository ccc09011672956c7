"""Probes as a dataset of fairseq's: fresh training data, fixed validation data, shorter sequences that still ask."""

from dataclasses import fields

import numpy as np
import pytest

from fairseq_smt.data.probe_dataset import ProbeDataset, probe_dictionary, probe_sample
from fairseq_smt.data.probes import PROBES, SPLITS
from fairseq_smt.errors import ConfigurationError
from fairseq_smt.tasks.smt_probe import SmtProbeConfig, SmtProbeTask

SIZE = 24


def dataset(split: str, epoch: int = 1, length: int = 12) -> ProbeDataset:
    probe = PROBES["retrieval"](length)
    data = ProbeDataset(probe, probe_dictionary(probe), SIZE, split)
    data.set_epoch(epoch)
    return data


def test_every_training_epoch_is_new_and_the_other_splits_never_change():
    ids = {
        (split, epoch): list(dataset(split, epoch)[i] for i in range(SIZE)) for split in SPLITS for epoch in (1, 2, 9)
    }
    assert all(ids[split, 1] == ids[split, 9] for split in ("valid", "test"))
    distinct = [ids["train", 1], ids["train", 2], ids["train", 9], ids["valid", 1], ids["test", 1]]
    assert len(set(sum(distinct, []))) == 5 * SIZE


def test_a_sample_asks_for_the_value_behind_the_special_symbols():
    data = dataset("train")
    sample = data.collater([data[i] for i in range(8)])
    tokens, target, pad = sample["net_input"]["src_tokens"], sample["target"], data.dictionary.pad()
    assert tokens.min() >= data.dictionary.nspecial and tokens.max() < len(data.dictionary)
    assert {data.dictionary[token] for token in tokens[:, -1]} == {"?"}
    assert target[:, :-1].eq(pad).all() and target[:, -1].ne(pad).all()
    assert (tokens == target[:, -1:]).sum(1).eq(1).all() and data.dictionary[target[0, -1]].startswith("v")
    assert (sample["ntokens"], sample["nsentences"]) == (8, 8) and sample["net_input"]["src_lengths"].eq(12).all()
    assert data.collater([]) == {}


def test_sizes_serve_both_ways_of_batching():
    data = dataset("train", length=12)
    indices = data.ordered_indices()
    assert np.array_equal(data.num_tokens_vec(indices), np.full(SIZE, 12)) and data.num_tokens(3) == data.size(3) == 12
    assert {len(batch) for batch in data.batch_by_size(indices, max_tokens=60)} == {5, 4}
    assert {len(batch) for batch in data.batch_by_size(indices, max_sentences=8)} == {8}


@pytest.mark.parametrize("name", PROBES)
def test_a_shorter_sequence_asks_too_and_pads_where_nothing_is_asked(name):
    probe = PROBES[name](24)
    dictionary = probe_dictionary(probe)
    for length in (24, 11, probe.shortest):
        sample = probe_sample(probe, dictionary, list(range(50)), length)
        asked = sample["target"].ne(dictionary.pad())
        assert asked.shape == (50, length) and asked.any(1).all() and sample["ntokens"] == asked.sum()
        assert sample["target"][asked].min() >= dictionary.nspecial


def test_every_difficulty_is_a_flag():
    config = SmtProbeConfig(probe="stack", probe_depth=3, probe_values=5, probe_seed=7, curriculum_updates=10)
    probe = SmtProbeTask(config).probe
    assert (probe.name, probe.length, probe.seed, probe.values, probe.depth) == ("stack", 128, 7, 5, 3)
    flags = {f"probe_{name}" for kind in PROBES.values() for name in kind.difficulties()}
    assert flags == {f"probe_{name}" for name in ("values", "noise", "reverse", "depth", "keys", "modulus")}
    assert flags <= {f.name for f in fields(SmtProbeConfig)}


@pytest.mark.parametrize(
    "flags, sentence",
    [
        ({"tokens_per_sample": 1}, "--tokens-per-sample must be at least 2 for --probe retrieval, not 1"),
        ({"curriculum_start": 129}, "--curriculum-start 129 is longer than a block: --tokens-per-sample is 128"),
        ({"curriculum_start": 1}, "--curriculum-start must be at least 2 for --probe retrieval, not 1"),
        ({"curriculum_start": -1}, "--curriculum-start must not be negative"),
        ({"probe_values": 0}, "--probe-values must be positive"),
        ({"probe_epoch_size": 0}, "--probe-epoch-size must be positive"),
        ({"probe": "stack", "probe_depth": 0}, "--probe-depth must be positive"),
        ({"probe": "parity", "tokens_per_sample": 8}, "has 256 sequences of --tokens-per-sample 8, and needs 4096 to"),
        ({"probe": "arithmetic", "curriculum_start": 4}, "must be at least 5 for --probe arithmetic, not 4"),
        ({"add_bos_token": True}, "remove --add-bos-token"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_flags_that_cannot_work(flags, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        SmtProbeTask(SmtProbeConfig(**{"curriculum_updates": 10, **flags}))


def test_a_split_that_does_not_exist():
    with pytest.raises(ConfigurationError, match="no split 'dev'; its splits are train, valid, test"):
        SmtProbeTask(SmtProbeConfig(curriculum_updates=10)).load_dataset("dev")
