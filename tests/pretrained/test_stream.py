"""A stream reads as forward and writes as generate do, and goes on from its state as if it had not ended."""

import math

import pytest
import torch

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.language_model import choose
from fairseq_smt.pretrained import Pretrained
from fairseq_smt.pretrained.cost import Cost
from fairseq_smt.pretrained.state import State
from fairseq_smt.pretrained.stream import READ_AT_ONCE, Stream
from tests.support.operations import Operations


@pytest.fixture(scope="module")
def model(exports) -> Pretrained:
    return Pretrained.load(exports["byte"][0])


@pytest.mark.parametrize("length", [0, 1, READ_AT_ONCE, READ_AT_ONCE + 1, 700])
def test_reading_costs_what_forward_says(model, length):
    ids = torch.randint(4, 260, (length,)).tolist()
    logits, memory = model.rnn(torch.tensor([[model.start, *ids]]))
    expected = -logits[0, :-1].log_softmax(-1).gather(1, torch.tensor(ids).long()[:, None]).sum() / math.log(2)
    stream = Stream(model)
    assert stream.read(ids) == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(stream.memory, memory)
    torch.testing.assert_close(stream.logits, logits[:, -1])


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.7, "top_k": 9, "top_p": 0.8}, {}])
def test_writing_is_generating(model, sampling):
    ids = model.text.encode("To be")
    stream = Stream(model, generator=torch.Generator().manual_seed(3), **sampling)
    stream.read(ids)
    written = [stream.next() for _ in range(200)]
    expected = model.rnn.generate(
        torch.tensor([[model.start, *ids]]),
        200,
        allowed=~torch.tensor(model.text.silent),
        generator=torch.Generator().manual_seed(3),
        **sampling,
    )
    assert written == expected[0].tolist() and min(written) >= 4


def test_a_symbol_costs_what_a_step_of_the_core_does(model):
    """In operations of torch: no more than two beside those of choosing and of a step; reading takes fewer."""
    stream = Stream(model, generator=torch.Generator())
    logits, memory = stream.logits, stream.memory
    with Operations() as core:
        for _ in range(20):
            logits, memory = model.rnn.step(choose(logits, 1.0, 0, 1.0, stream.generator), memory)
    with Operations() as written:
        ids = [stream.next() for _ in range(20)]
    with Operations() as read:
        stream.read(ids)
    assert len(core.names) <= len(written.names) <= len(core.names) + 2 * 20
    assert len(read.names) < len(core.names)


def test_a_state_goes_on(model, tmp_path):
    whole = Stream(model, generator=torch.Generator().manual_seed(3))
    expected = [whole.next() for _ in range(60)]
    first = Stream(model, generator=torch.Generator().manual_seed(3))
    found = [first.next() for _ in range(30)]
    State(first.memory, b"\xc3", first.generator.get_state()).save(tmp_path / "state", "me")
    state = State.load(tmp_path / "state", "me", (4, 8))
    generator = torch.Generator()
    generator.set_state(state.random)
    second = Stream(model, state.memory, generator=generator)
    assert found + [second.next() for _ in range(30)] == expected and state.unwritten == b"\xc3"


def test_states_of_others_and_damaged_ones_are_refused(model, exports, tmp_path):
    path = tmp_path / "state"
    stream = Stream(model, generator=torch.Generator())
    State(stream.memory, b"", stream.generator.get_state()).save(path, model.config.fingerprint)
    other = Pretrained.load(exports["character"][0])
    whole = path.read_bytes()
    damaged = "is no whole file of fairseq-smt-stream"
    for fingerprint, shape, content, sentence in [
        (other.config.fingerprint, (4, 8), whole, "of another model: name another file by --state"),
        (model.config.fingerprint, (2, 4), whole, "damaged memory"),
        (model.config.fingerprint, (4, 8), whole[:-1], damaged),
        (model.config.fingerprint, (4, 8), b"", damaged),
        (model.config.fingerprint, (4, 8), (exports["byte"][0] / "model.safetensors").read_bytes(), damaged),
    ]:
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=sentence):
            State.load(path, fingerprint, shape)
    with pytest.raises(ConfigurationError, match="--state .* cannot be written"):
        State(stream.memory, b"", stream.generator.get_state()).save(tmp_path / "absent" / "state", "me")


def test_sampling_out_of_range(model):
    for sampling in ({"temperature": -1}, {"top_k": -1}, {"top_p": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(sampling))):
            Stream(model, **sampling)


def test_costs_add_up():
    both = Cost.of(4.0, 3, "é🙂") + Cost.of(2.0, 2, b"a\xff")
    assert both == Cost(6.0, 5, 4, 8) and both.per_character == 1.5 and both.per_byte == 0.75
    assert str(both) == "1.5000 bits per character, 0.7500 per byte (4 characters, 8 bytes, 5 symbols)"
