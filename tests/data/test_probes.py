"""The probes against simulations in plain Python, which read and answer with the names of the symbols."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data.probes import PROBES, Draw, Probe, Sequences
from fairseq_smt.data.probes.probe import FIRST_IDS, best_guess, difficulty, split_of

SIZES = {
    "retrieval": {"values": st.integers(1, 9), "noise": st.integers(1, 9)},
    "copy": {"values": st.integers(1, 9), "reverse": st.booleans()},
    "stack": {"values": st.integers(1, 9), "depth": st.integers(1, 9)},
    "keys_values": {"values": st.integers(1, 9), "keys": st.integers(13, 20)},
    "arithmetic": {"modulus": st.sampled_from((2, 3, 5, 7, 11))},
    "parity": {},
}
LONGEST = 40


def answer_retrieval(probe: Probe, read: list[str]) -> list[str | None]:
    *before, query = read
    (value,) = (x for x in before if x.startswith("v"))
    assert query == "?" and all(x.startswith("n") for x in before if x != value)
    return [None] * len(before) + [value]


def answer_copy(probe: Probe, read: list[str]) -> list[str | None]:
    n = read.index("=")
    string, marks = read[:n], read[n : len(read) - n]
    assert marks in (["="], ["=", "="]) and read[len(read) - n :] == ["?"] * n
    assert all(x.startswith("v") for x in string)
    return [None] * (n + len(marks)) + (string[::-1] if probe.reverse else string)


def answer_stack(probe: Probe, read: list[str]) -> list[str | None]:
    stack, answers = [], []
    for x in read:
        answers.append(stack.pop() if x == "pop" else None)
        if x != "pop":
            stack.append(x)
        assert len(stack) <= probe.depth
    return answers


def answer_keys_values(probe: Probe, read: list[str]) -> list[str | None]:
    pairs, known, answers = read[: read.index("=")], {}, []
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        assert key not in known and key.startswith("k") and value.startswith("v")
        known[key] = value
    queries = [x for x in read[len(pairs) :] if x != "="]
    assert sorted(queries) == sorted(known)
    for t, x in enumerate(read):
        answers.append(known[x] if t >= len(pairs) and x != "=" else None)
    return answers


def answer_arithmetic(probe: Probe, read: list[str]) -> list[str | None]:
    """From the third example on, by search for the one function that fits the first two."""
    p = probe.modulus
    x, y = ([int(s[1:]) for s in read[i::2]] for i in (0, 1))
    assert {s[0] for s in read[::2]} == {"x"} and {s[0] for s in read[1::2]} == {"y"}
    ((a, b),) = [(a, b) for a in range(p) for b in range(p) if all((a * x[i] + b) % p == y[i] for i in (0, 1))]
    assert all((a * u + b) % p == v for u, v in zip(x, y, strict=False))
    return [f"y{(a * x[t // 2] + b) % p}" if t >= 4 and t % 2 == 0 else None for t in range(len(read))]


def answer_parity(probe: Probe, read: list[str]) -> list[str | None]:
    answers, odd = [], False
    for bit in read:
        odd ^= bit == "1"
        answers.append("1" if odd else "0")
    return answers


ANSWERS = {
    "retrieval": answer_retrieval,
    "copy": answer_copy,
    "stack": answer_stack,
    "keys_values": answer_keys_values,
    "arithmetic": answer_arithmetic,
    "parity": answer_parity,
}


def named(probe: Probe, tokens: torch.Tensor, shown: torch.Tensor) -> list[list[str | None]]:
    return [
        [probe.symbols[token] if seen else None for token, seen in zip(row, mask, strict=True)]
        for row, mask in zip(tokens.tolist(), shown.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", PROBES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_simulation_answers_what_is_asked_at_every_length(name, data):
    probe = PROBES[name](LONGEST, data.draw(st.integers(0, 99)), **data.draw(st.fixed_dictionaries(SIZES[name])))
    ids = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
    for length in range(probe.shortest, LONGEST + 1):
        batch = Sequences(*probe.generate(Draw(probe.seed, torch.tensor(ids)), length))
        assert batch.inputs.shape == batch.targets.shape == batch.asked.shape == (len(ids), length)
        assert batch.asked.any(1).all()
        for read, answers in zip(
            named(probe, batch.inputs, torch.ones_like(batch.asked)),
            named(probe, batch.targets, batch.asked),
            strict=True,
        ):
            assert ANSWERS[name](probe, read) == answers


@pytest.mark.parametrize("name", PROBES)
def test_sequences_depend_on_seed_and_id_only(name):
    one, other = PROBES[name](24, seed=1), PROBES[name](24, seed=2)
    for first in FIRST_IDS.values():
        ids = torch.arange(first, first + 20)
        batch, mixed = one.batch(ids), one.batch(ids.flip(0)[:7])
        for a, b in ((batch.inputs, mixed.inputs), (batch.targets, mixed.targets), (batch.asked, mixed.asked)):
            assert torch.equal(a.flip(0)[:7], b)
        assert batch.real.all() and len(batch.inputs.unique(dim=0)) == 20
        assert not torch.equal(batch.inputs, other.batch(ids).inputs)


@pytest.mark.parametrize("name", PROBES)
def test_the_sequence_of_an_id_is_the_first_of_its_draws_that_belongs_to_its_split(name):
    probe = PROBES[name](24)
    for split, first in enumerate(FIRST_IDS.values()):
        for i in range(first, first + 8):
            draws = (probe.generate(Draw(probe.seed, torch.tensor([i]), attempt), 24) for attempt in range(1 << 12))
            expected, found = next(x for x in draws if split_of(x.inputs) == split), probe.batch([i])
            for a, b in zip(expected, (found.inputs, found.targets, found.asked), strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("name", PROBES)
def test_shorter_draws_begin_like_longer_ones(name):
    probe, draw = PROBES[name](24), Draw(1, torch.arange(50))
    short, long = probe.generate(draw, 9).inputs, probe.generate(draw, 24).inputs
    same = {"copy": 4, "keys_values": 4}.get(name, 8)
    assert (short[:, :same] == long[:, :same]).float().mean() > (0.8 if name == "retrieval" else 0.999)


TINY = {
    "retrieval": (4, dict(values=2, noise=7)),
    "copy": (9, dict(values=4)),
    "stack": (7, dict(values=3, depth=2)),
    "keys_values": (9, dict(values=4, keys=4)),
    "arithmetic": (6, dict(modulus=3)),
    "parity": (8, {}),
}


@pytest.mark.parametrize("name", PROBES)
def test_splits_share_no_sequence_whatever_the_seed(name):
    """Of a few hundred sequences, all of which are drawn, each is in one split."""
    length, sizes = TINY[name]
    found = {split: set() for split in FIRST_IDS}
    for seed in (1, 2):
        probe = PROBES[name](length, seed, **sizes)
        for split, first in FIRST_IDS.items():
            batch = probe.batch(torch.arange(first, first + 3000))
            found[split] |= set(map(tuple, batch.inputs.tolist()))
            assert (split_of(batch.inputs) == list(FIRST_IDS).index(split)).all()
    train, valid, test = found.values()
    assert not (train & valid or train & test or valid & test)
    whole = set(map(tuple, probe.generate(Draw(3, torch.arange(20000)), length).inputs.tolist()))
    assert len(whole) == probe.instances and train | valid | test == whole
    assert len(train) > 0.6 * len(whole) and min(len(valid), len(test)) > 0.06 * len(whole)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: PROBES["parity"](11).check_splits(512),
            "has 2048 sequences of --tokens-per-sample 11, and needs 4096",
        ),
        (lambda: PROBES["retrieval"](64, noise=1).check_splits(512), "or --probe-values or --probe-noise, or lower"),
        (lambda: PROBES["copy"](2), "--tokens-per-sample must be at least 3 for --probe copy, not 2"),
        (lambda: PROBES["stack"](8, depth=0), "--probe-depth must be positive, not 0"),
        (lambda: PROBES["keys_values"](64), "--probe-keys 16 is too few: --tokens-per-sample 64 has room for 21 pairs"),
        (lambda: PROBES["arithmetic"](8, modulus=9), "--probe-modulus must be a prime"),
        (lambda: PROBES["arithmetic"](8, modulus=1), "--probe-modulus must be a prime"),
        (
            lambda: PROBES["parity"](1).batch(range(FIRST_IDS["valid"], FIRST_IDS["valid"] + 9)),
            "--probe parity has too few sequences",
        ),
    ],
    ids=range(8),
)
def test_sizes_that_cannot_work(make, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        make()


@dataclass
class Echo(Probe):
    """Asks for the input, or for the position modulo 2 plus a coin that nobody knows."""

    coin: bool = difficulty(False, "toss it")
    name = "echo"
    symbols = ["a", "b", "c"]
    chance = 1 / 3
    instances = 3**9

    def generate(self, draw, length):
        inputs = draw.integers(0, 0, 3, length)
        coin = draw.integers(1, 0, 2, length) * self.coin
        targets = torch.arange(length) % 2 + coin if self.coin else inputs
        return Sequences(inputs, targets.expand_as(inputs), torch.ones_like(inputs, dtype=torch.bool))


def test_the_best_guess_knows_input_and_position_alone():
    assert best_guess(Echo(9)) == 1
    assert best_guess(Echo(9, coin=True)) == pytest.approx(1 / 2, abs=0.01)
    for name in ("retrieval", "copy", "stack", "keys_values", "arithmetic"):
        probe = PROBES[name](24)
        assert best_guess(probe) == pytest.approx(probe.chance, abs=0.02)
    assert best_guess(PROBES["parity"](10)) == pytest.approx((1 + 9 / 2) / 10, abs=0.01)
    assert best_guess(PROBES["stack"](8, depth=1)) == pytest.approx(1 / 8, abs=0.01)
