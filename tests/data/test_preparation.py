"""Texts as data: fairseq-preprocess's files to the byte, in chunks, with every byte of the text."""

import io
import itertools
import json
import random
import re
import sys
import tracemalloc
from functools import partial
from pydoc_data.topics import topics
from unittest import mock

import pytest
from fairseq.data import Dictionary, data_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data import preparation, text, vocabulary
from fairseq_smt.data.preparation import Settings, prepare, sample
from fairseq_smt.data.splits import Measured, split_by_document, split_by_number, split_by_share
from fairseq_smt.data.text import Part
from fairseq_smt.data.vocabulary import KINDS, SentencepieceVocabulary
from tests.support.commands import run

TEXT = (
    "\n".join(topics[name] for name in sorted(topics)[:12])[:30000]
    + "\tna\xefve \u2603\r\n \u2581 \u23ce \x00 \U0001f600\n"
)
SPLITS = ("train", "valid", "test")
by_number = partial(split_by_number, numbers=[1, 1, 1])
SIZES = {"character": None, "byte": None, "sentencepiece": 400}


def files(folder, contents: list[bytes]) -> list[str]:
    paths = [folder / f"{i}.txt" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def three(content: str) -> list[str]:
    """A text for every split, the first one as it is; none may be in two."""
    return [content * times for times in (1, 2, 3)]


def decoded(data, kind: str) -> dict[str, bytes]:
    """The text of every split, as it comes back from the data."""
    dictionary, words = Dictionary.load(str(data / "dict.txt")), vocabulary.decoder(kind)
    found = {}
    for split in SPLITS:
        items = data_utils.load_indexed_dataset(str(data / split), dictionary)
        found[split] = words.decode_bytes(dictionary[i] for k in range(len(items)) for i in items[k].tolist())
    return found


@pytest.fixture(scope="module")
def model() -> SentencepieceVocabulary:
    return SentencepieceVocabulary.train([TEXT], 400)


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_those_of_fairseq_preprocess(tmp_path, kind):
    """Shares of two texts, in chunks of 4 KB, against lines of symbols of the whole texts."""
    contents = [TEXT, "other text " * 40 + "\x85\u2028", ""]
    paths = files(tmp_path, [content.encode() for content in contents])
    share = partial(split_by_share, valid=0.1, test=0.2)
    with mock.patch.object(text, "CHUNK", 4096):
        counts = prepare(paths, share, str(tmp_path / "ours"), Settings(kind, SIZES[kind]))
        assert prepare(paths, share, str(tmp_path / "two"), Settings(kind, SIZES[kind], workers=2)) == counts
    words, command = vocabulary.load(tmp_path / "ours"), []
    for split, start, end in zip(SPLITS, (0, 0.7, 0.8), (0.7, 0.8, 1), strict=True):
        parts = [x[round(len(x) * start) : round(len(x) * end)] for x in contents]
        lines = [words.encode(part) for part in parts if part]
        (tmp_path / split).write_text("".join(" ".join(line) + "\n" for line in lines))
        command += [f"--{split}pref", tmp_path / split]
        expected = {"texts": 2, "symbols": sum(map(len, lines)), "bytes": sum(len(part.encode()) for part in parts)}
        assert counts[split] == expected
    if words.symbols():
        (tmp_path / "symbols").write_text("".join(f"{symbol} 1\n" for symbol in words.symbols()))
        command += ["--srcdict", tmp_path / "symbols"]
    run("fairseq-preprocess", "--only-source", "--destdir", tmp_path / "theirs", "--workers", 1, *command)
    names = ["dict.txt"] + [f"{split}.{suffix}" for split in SPLITS for suffix in ("bin", "idx")]
    for name in names:
        ours, two, theirs = ((tmp_path / folder / name).read_bytes() for folder in ("ours", "two", "theirs"))
        assert ours == two == theirs, name
    assert json.loads((tmp_path / "ours/vocabulary.json").read_text()) == {"kind": kind, "splits": counts}


anything = st.binary() | st.lists(st.sampled_from([b"\r\n", b"\r", b"\xef\xbb\xbf", b"\xff", b"\0", b"a b"])).map(
    b"".join
)
words = st.lists(st.sampled_from(TEXT[:3000].split(" ")), min_size=5).map(" ".join)
any_text = st.lists(st.text(max_size=20) | st.sampled_from(["\r\n", "\r", "\ufeff", "\u2581", " ", "ab cd"])).map(
    "".join
)


@settings(max_examples=30, deadline=None)
@given(contents=st.lists(anything.filter(bool), min_size=3, max_size=3, unique=True))
def test_bytes_of_any_file_come_back(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("bytes")
    with mock.patch.object(text, "CHUNK", 8):
        prepare(files(folder, contents), by_number, str(folder / "data"), Settings("byte"))
    assert list(decoded(folder / "data", "byte").values()) == contents


@pytest.mark.parametrize("kind", ["character", "sentencepiece"])
@pytest.mark.parametrize("encoding", [None, "utf-16", "utf-8-sig"])
@settings(max_examples=15, deadline=None)
@given(content=any_text.filter(bool))
def test_any_text_comes_back(tmp_path_factory, model, kind, encoding, content):
    folder = tmp_path_factory.mktemp("text")
    paths = files(folder, [x.encode(encoding or "utf-8") for x in three(content)])
    with mock.patch.object(text, "CHUNK", 8), mock.patch.object(SentencepieceVocabulary, "train", lambda *_: model):
        prepare(paths, by_number, str(folder / "data"), Settings(kind, encoding=encoding))
    assert list(decoded(folder / "data", kind).values()) == [x.encode() for x in three(content)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(content=any_text | words)
def test_codes_of_chunks_are_the_symbols_of_the_whole(tmp_path_factory, model, kind, content):
    words = model if kind == "sentencepiece" else vocabulary.decoder(kind)
    path = tmp_path_factory.mktemp("chunks") / "text"
    path.write_bytes(content.encode())
    longest = max((len(word.encode()) for word in re.split("[ \n]", content)), default=0)
    with mock.patch.object(text, "CHUNK", longest + 3):
        chunks = list(Part.whole(str(path)).chunks())
    assert all(0 < chunk.size <= longest + 3 for chunk in chunks)
    symbols = [words.symbol(code) for chunk in chunks for code in words.codes(chunk.text()).tolist()]
    assert symbols == words.encode(content)


def test_a_line_without_a_space_is_cut_between_characters(tmp_path, model):
    path = tmp_path / "text"
    path.write_text("a\u2603\U0001f600" * 50)
    with mock.patch.object(text, "CHUNK", 10):
        pieces = [chunk.text() for chunk in Part.whole(str(path)).chunks()]  # `text` raises for half a character
    assert b"".join(pieces) == path.read_bytes() and max(map(len, pieces)) <= 10


def test_a_share_is_cut_at_the_same_character_however_it_is_read(tmp_path):
    content = "".join(random.Random(0).choices("a\xe9\u2603\U0001f600\n ", k=999))
    path = files(tmp_path, [content.encode()])[0]
    for chunk, kind in itertools.product((7, 64, 1 << 20), ("byte", "character")):
        with mock.patch.object(text, "CHUNK", chunk):
            measured = preparation._measure([Part.whole(path)], Settings(kind))
            parts = split_by_share(measured, 0.123, 0.234)
        found = [b"".join(part.read() for part in parts[split]).decode() for split in SPLITS]
        a, b = round(999 * (1 - 0.123 - 0.234)), round(999 * (1 - 0.234))
        assert found == [content[:a], content[a:b], content[b:]]


def test_splitting_by_document_gives_every_text_to_one_split():
    texts = [Measured(Part(f"text {i}", 0, i)) for i in range(10)]
    parts = split_by_document(texts, 0.1, 0.2)
    assert sum(parts.values(), []) == [text.whole for text in texts]
    assert [len(parts[n]) for n in SPLITS] == [7, 1, 2]
    with pytest.raises(ConfigurationError, match="needs more than 2 files"):
        split_by_document(texts[:2], 0.1, 0.1)


def test_memory_does_not_grow_with_one_long_line(tmp_path):
    """Four times the line may take 1 % of what is more of it."""
    peaks = []
    line = "one line of words, n\xe0\xefve \u2603, without an end, ".encode()
    for repeats in (1, 40_000, 160_000):  # the first one is for what is imported and kept
        paths = files(tmp_path, [line * repeats + b"%d" % i for i in range(3)])
        with mock.patch.object(text, "CHUNK", 1 << 16):
            tracemalloc.start()
            prepare(paths, by_number, str(tmp_path / "data"), Settings())
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[2] - peaks[1] < 0.01 * 120_000 * len(line) * 3


def test_a_long_text_is_listed_in_pieces_that_are_the_same_text(tmp_path):
    paths = files(tmp_path, [x.encode() for x in three(TEXT)])
    prepare(paths, by_number, str(tmp_path / "whole"), Settings())
    with mock.patch.object(preparation, "ITEM", 1000):
        prepare(paths, by_number, str(tmp_path / "pieces"), Settings())
    whole, pieces = (data_utils.load_indexed_dataset(str(tmp_path / name / "train")) for name in ("whole", "pieces"))
    assert len(whole) == 1 and len(pieces) == -(-(len(TEXT) + 1) // 1000) and max(pieces.sizes) == 1000
    assert [i for k in range(len(pieces)) for i in pieces[k].tolist()] == whole[0].tolist()
    assert (tmp_path / "whole/train.bin").read_bytes() == (tmp_path / "pieces/train.bin").read_bytes()


def test_sentencepiece_is_trained_on_an_even_sample_of_a_long_text(tmp_path):
    path = files(tmp_path, [b"".join(b"%08d\n" % i for i in range(10000))])[0]
    with mock.patch.object(text, "CHUNK", 900):
        everything = list(Part.whole(path).chunks())
        assert list(sample([Part.whole(path)], 1.0)) == everything
        tenth = list(sample([Part.whole(path)], 0.1))
    assert len(tenth) == 10 and all(b.start - a.start == 9000 for a, b in itertools.pairwise(tenth))


@pytest.mark.parametrize("kind", ["character", "sentencepiece"])
@pytest.mark.parametrize(
    "content, encoding, sentence",
    [
        (b"na\xefve" + b"x" * 99, None, "0.txt is not UTF-8, byte 2 is 0xEF: give --encoding latin-1"),
        (b"x" * 5000 + "\u2603".encode() + b"\x80 \xff", None, "byte 5003 is 0x80"),
        (b"x" * 5000 + "\u2603".encode()[:2], None, "byte 5000 is 0xE2"),
        ("snow \u2603".encode("utf-16"), None, "byte 0 is 0xFF: it begins like UTF-16: give --encoding utf-16 or"),
        ("snow \u2603".encode("utf-32"), None, "it begins like UTF-32: give --encoding utf-32 or"),
        (b"x" * 9000 + b"\x81", "cp1252", "0.txt is not cp1252, byte 9000 is 0x81"),
        ("x".encode("utf-16") * 4000 + b"y", "utf-16", "0.txt is not utf-16, byte 16000 is 0x79"),
        (b"plain", "utf-16", "0.txt is not utf-16"),
        (b"x" * 999 + b"\x81", "shift_jis", "0.txt is not shift_jis, byte 999 is 0x81"),
        (b"\\ud800", "unicode_escape", "0.txt is not unicode_escape"),
        (b"plain", "latin-0", "--encoding latin-0 is unknown"),
        (b"plain", "rot13", "--encoding rot13 is unknown"),
    ],
)
def test_what_is_not_text_is_refused_with_the_first_bad_byte(tmp_path, kind, content, encoding, sentence):
    paths = files(tmp_path, [content, TEXT.encode(), TEXT.encode()])
    with mock.patch.object(text, "CHUNK", 1000), pytest.raises(ConfigurationError, match=sentence):
        prepare(paths, by_number, str(tmp_path / "data"), Settings(kind, SIZES[kind], encoding))
    assert not (tmp_path / "data").exists()


def test_another_encoding_gives_the_data_of_utf8(tmp_path):
    content = TEXT.replace("\x00", "")[:5000] + "\u3042\u308a\r\n"
    folders = []
    for encoding in (None, "utf-16", "shift_jis"):
        folders.append(tmp_path / str(encoding))
        folders[-1].mkdir()
        paths = files(folders[-1], [x.encode(encoding or "utf-8") for x in three(content)])
        with mock.patch.object(text, "CHUNK", 7):
            prepare(paths, by_number, str(folders[-1] / "data"), Settings(encoding=encoding))
    names = ["dict.txt", "train.bin", "vocabulary.json"]
    for folder, name in itertools.product(folders, names):
        assert (folder / "data" / name).read_bytes() == (folders[0] / "data" / name).read_bytes()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("delay, stream, shown", [(0, Terminal, True), (60, Terminal, False), (0, io.StringIO, False)])
def test_progress_has_rate_and_time_left_on_a_terminal_when_it_takes_long(tmp_path, monkeypatch, delay, stream, shown):
    monkeypatch.setattr(preparation, "DELAY", delay)
    monkeypatch.setattr(sys, "stderr", stream())
    paths = files(tmp_path, [x.encode() for x in three(TEXT)])
    prepare(paths, by_number, str(tmp_path / "data"), Settings())
    bars = re.findall(r"(reading|counting|writing \w+): 100%.*\[\d+:\d+<\d+:\d+, +[\d.]+.?B/s", sys.stderr.getvalue())
    assert set(bars) == ({"reading", "counting", *(f"writing {split}" for split in SPLITS)} if shown else set())
    assert shown or not sys.stderr.getvalue()


@pytest.mark.parametrize(
    "given, sentence",
    [
        (dict(workers=0), "--workers must be positive"),
        (dict(kind="byte", encoding="utf-16"), "--vocabulary byte keeps files as they are: remove --encoding"),
        (dict(kind="byte", size=5), "remove --vocabulary-size"),
        (dict(kind="sentencepiece", size=0), "--vocabulary-size must be positive"),
    ],
)
def test_settings_that_do_not_fit(given, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        Settings(**given)


def test_a_byte_order_mark_is_kept_and_told(tmp_path, capsys):
    paths = files(tmp_path, [b"\xef\xbb\xbftext", b"other", b"another"])
    prepare(paths, by_number, str(tmp_path / "data"), Settings())
    assert "0.txt begins with a byte order mark" in capsys.readouterr().err
    assert decoded(tmp_path / "data", "character")["train"] == b"\xef\xbb\xbftext"
