"""Texts that come in pieces give the symbols of the whole, and symbols give whole characters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data.vocabulary import decoder
from fairseq_smt.pretrained import Pretrained
from fairseq_smt.pretrained.text import LONGEST_WORD, Characters, Pieces
from tests.support.exports import KINDS, TEXT

texts = st.lists(st.text() | st.text("ab \n") | st.sampled_from([TEXT[:60], "é", "🙂"])).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=texts, cuts=st.lists(st.integers(0, 80)))
def test_pieces_give_the_symbols_of_the_whole(exports, kind, text, cuts):
    model, data = Pretrained.load(exports[kind][0]).text, text.encode()
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces, ids = Pieces(model.vocabulary, "stdin"), []
    for start, end in zip([0, *ends], ends, strict=False):
        ids += model.encode(pieces.feed(data[start:end]))
    assert ids + model.encode(pieces.feed(b"", last=True)) == model.encode(text)


def test_a_word_without_an_end_is_not_held_back_for_ever():
    pieces = Pieces(decoder("sentencepiece"), "stdin")
    assert [len(pieces.feed(b"a" * 10000)) for _ in range(7)] == [0] * 6 + [70000]
    assert LONGEST_WORD < 70000 and pieces.feed(b"", last=True) == ""


def test_what_is_not_utf_8_is_named():
    pieces = Pieces(decoder("character"), "stdin")
    assert pieces.feed("aé".encode()[:2]) == "a" and pieces.feed("é".encode()[1:] + b"b") == "éb"
    with pytest.raises(ConfigurationError, match="stdin is not UTF-8, byte 5 is 0xFF: .* or take a model of bytes"):
        pieces.feed(b"c\xff")
    with pytest.raises(ConfigurationError, match="--prompt is not UTF-8, byte 1 is 0xC3"):
        Pieces(decoder("character"), "--prompt").feed(b"a\xc3", last=True)


@given(text=st.text(), damage=st.binary(max_size=3))
def test_characters_are_whole(text, damage):
    data, characters = text.encode() + damage + b"a", Characters()
    written = [characters.feed(data[i : i + 1]) for i in range(len(data))]
    assert b"".join(written).decode() == data.decode(errors="replace")
    assert all(part.decode() is not None for part in written) and not characters.held


def test_a_character_is_finished_by_the_next_writer():
    first = Characters()
    assert first.feed("🙂".encode()[:3]) == b"" and len(first.held) == 3
    assert Characters(first.held).feed("🙂".encode()[3:]) == "🙂".encode()
