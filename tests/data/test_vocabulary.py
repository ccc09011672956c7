"""The three vocabularies: exact round trips, byte lengths, and agreement with fairseq's own encoders."""

from argparse import Namespace
from pydoc_data.topics import topics

import pytest
from fairseq.data.encoders import build_bpe
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data import vocabulary
from fairseq_smt.data.vocabulary import KINDS, LineCodec, SentencepieceVocabulary

TEXT = "\n".join(topics[name] for name in sorted(topics)[:20])[:40000]
SPECIAL = ["</s>", "<s>", "<unk>", "<pad>", "<0x41>", "<U+0009>", " ▁ ", "⏎", "\t", "\u2585", "\x00", "\u2028", "\n"]
texts = st.lists(st.text() | st.text("ab \n") | st.sampled_from([*SPECIAL, TEXT[:60]])).map("".join)
words = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), min_size=1).map(" ".join)


@pytest.fixture(scope="module")
def made() -> dict[str, vocabulary.Vocabulary]:
    trained = SentencepieceVocabulary.train([TEXT], 500)
    return {kind: vocabulary.decoder(kind) for kind in KINDS} | {"sentencepiece": trained}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_every_text_comes_back_exactly(made, kind, text):
    symbols = made[kind].encode(text)
    assert made[kind].decode(symbols) == text and vocabulary.decoder(kind).decode(symbols) == text
    assert " ".join(symbols).split() == symbols and not {"</s>", "<s>", "<unk>", "<pad>"} & set(symbols)
    assert sum(vocabulary.byte_lengths(made[kind], symbols)) == len(text.encode())
    if kind != "character":
        assert set(symbols) <= set(made[kind].symbols())


@pytest.mark.parametrize("kind, name", zip(KINDS, ("characters", "bytes", "sentencepiece"), strict=True))
def test_fairseqs_own_encoders_agree(made, tmp_path, kind, name):
    (tmp_path / "m").write_bytes(made["sentencepiece"].model)
    theirs = build_bpe(
        Namespace(
            bpe=name,
            sentencepiece_model=str(tmp_path / "m"),
            sentencepiece_enable_sampling=False,
            sentencepiece_alpha=None,
        )
    )

    @settings(max_examples=60, deadline=None)
    @given(text=words | st.sampled_from(TEXT.replace("\n", " ").split(". ")))
    def agree(text):
        text = " ".join(text.replace("▁", "").replace("⏎", "").split())  # fairseq folds whitespace
        symbols = " ".join(made[kind].encode(text))
        assert theirs.encode(text) == symbols
        if kind != "sentencepiece" or "<0x" not in symbols:  # fairseq does not join bytes of the fallback
            assert theirs.decode(symbols) == text

    agree()


def test_special_symbols_have_no_bytes_and_an_unknown_one_counts_as_one(made):
    for words in made.values():
        assert vocabulary.byte_lengths(words, ["</s>", "<s>", "<pad>", "<unk>"]) == [0, 0, 0, 1]
        assert words.decode(["<s>", *words.encode("a"), "<unk>", "</s>"]) == "a\ufffd"
    assert made["character"].size("madeupword0001") == 0
    assert made["byte"].decode(["Ã"]) == "\ufffd"  # half a character, which a model may well generate


def test_sentencepiece_is_trained_the_same_every_time_and_learns_no_special_symbol():
    text = "<pad> <s> <0x41> <unk> " * 300 + TEXT
    first, second = (SentencepieceVocabulary.train([text], 400) for _ in range(2))
    assert first.model == second.model
    assert len(set(first.symbols())) == len(first.symbols()) == 397  # without <unk>, <s> and </s>
    assert "<pad>" not in first.symbols() and not any(s.split() != [s] for s in first.symbols())


@pytest.mark.parametrize("size, sentence", [(99999, "too large for this text: give at most"), (9, "give at least")])
def test_a_size_that_the_text_cannot_give(size, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        SentencepieceVocabulary.train([TEXT], size)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading(made, tmp_path, kind):
    vocabulary.save(made[kind], tmp_path, {})
    assert vocabulary.load(tmp_path).encode(TEXT) == made[kind].encode(TEXT)
    (tmp_path / "vocabulary.json").unlink()
    assert vocabulary.load(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "runes"}', '{"kind": "sentencepiece"}'])
def test_a_damaged_description(tmp_path, text):
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(ConfigurationError, match="make the data anew"):
        vocabulary.load(tmp_path)


def test_a_prompt_is_one_line(made):
    for words in made.values():
        codec = LineCodec(words)
        assert words.decode(codec.encode("a b⏎c▁").split()) == "a b\nc "
        assert codec.decode(codec.encode("a b⏎c▁")) == "a b⏎c "
