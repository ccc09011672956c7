"""Blocks in the order of the text: every token once, every row going on where it was."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, MonolingualDataset, TokenBlockDataset

from fairseq_smt.data.streams import StreamDataset, cut, order_for_scoring, order_for_training

TEXTS = np.array([[0, 70], [71, 72], [72, 105], [110, 250]])


def stretches(batches, blocks, every):
    """Blocks of each row in their order, split where one starts anew; batch i is for shard i % `every`."""
    found = {}
    for i, batch in enumerate(batches):
        rows = [int(blocks.row[j]) for j in batch]
        assert len(set(rows)) == len(rows)
        for j, row in zip(batch, rows, strict=True):
            if blocks.begins[j]:
                found.setdefault((i % every, row), []).append([])
            found[i % every, row][-1].append(j)
    return [stretch for row in found.values() for stretch in row]


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_training_rows_go_on_through_the_text(rows, parts):
    blocks = cut(TEXTS, 8)
    batches = order_for_training(blocks, rows, parts)
    order = sorted(sum(batches, []))
    assert order == list(range(len(order))) and 0 <= len(blocks) - len(order) < parts
    assert all(batches) and len(batches) % parts == 0 and max(map(len, batches)) <= rows
    for stretch in stretches(batches, blocks, parts):
        assert stretch == list(range(stretch[0], stretch[0] + len(stretch)))
        assert len(set(blocks.text[stretch])) == 1
    assert len(set(blocks.row[order])) == len(batches[0]) * parts


def test_too_few_blocks_for_the_parts_make_no_batch():
    assert order_for_training(cut(TEXTS[:1], 35), 4, 3) == []
    assert order_for_training(cut(TEXTS[:1], 35), 4, 2) == [[0], [1]]


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_scoring_reads_every_text_from_its_beginning_to_its_end(rows, shards):
    blocks = cut(TEXTS, 8)
    batches = order_for_scoring(blocks, rows, shards)
    assert sorted(sum(batches, [])) == list(range(len(blocks))) and max(map(len, batches)) <= rows
    found = sorted((int(blocks.start[s[0]]), int(blocks.end[s[-1]])) for s in stretches(batches, blocks, shards))
    assert found == [tuple(text) for text in TEXTS.tolist()]


def test_parts_of_a_text_do_not_depend_on_the_length_of_blocks():
    for length in (1, 7, 64):
        blocks = cut(np.array([[0, 103]]), length, 4)
        assert blocks.start[blocks.begins].tolist() == [0, 25, 51, 77]


class Items(list):
    """Lines of symbols as fairseq's index holds them; the last one in two items."""

    def __init__(self):
        lines = [[*range(4, 4 + n), 2] for n in (9, 5, 0, 12)] + [[*range(4, 15)], [15, 16, 2]]
        super().__init__(torch.tensor(line) for line in lines)
        self.sizes = np.array([len(line) for line in lines])


def dataset(mode: str, length: int, bos: bool = False) -> StreamDataset:
    dictionary = Dictionary()
    for i in range(20):
        dictionary.add_symbol(f"s{i}")
    items = Items()
    blocks = TokenBlockDataset(items, items.sizes, length, 1, 2, break_mode=mode, include_targets=True)
    plain = MonolingualDataset(blocks, blocks.sizes, dictionary, targets=["future"], add_bos_token=bos)
    return StreamDataset.like(plain, SimpleNamespace(sample_break_mode=mode, tokens_per_sample=length))


def texts(data: StreamDataset) -> list[tuple[list[int], list[int]]]:
    """Source and target of each text, its blocks put together."""
    found = []
    for i, begins in enumerate(data.blocks.begins):
        if begins:
            found.append(([], []))
        for whole, part in zip(found[-1], data.pair(i), strict=True):
            whole.extend(part.tolist())
    return found


@pytest.mark.parametrize("mode", ["none", "complete", "complete_doc", "eos"])
def test_blocks_of_any_length_make_the_texts_of_the_break_mode(mode):
    joined = [line.tolist() for line in Items()]
    if mode != "eos":  # the line that is its eos alone separates documents
        groups = [joined] if mode != "complete_doc" else [joined[:2], joined[3:]]
        joined = [sum(group, []) for group in groups]
    for length in (1, 2, 5, 64):
        assert texts(dataset(mode, length)) == [([2, *text[:-1]], text) for text in joined]


def test_a_bos_stands_where_a_text_begins_and_predicts_its_first_symbol():
    for length in (1, 5, 64):
        for source, target in texts(dataset("eos", length, bos=True)):
            assert source[:2] == [0, 2] and target[0] == 2 and target[:-1] == source[1:] and target.count(0) == 0


def test_in_scoring_the_column_that_is_dropped_repeats_what_was_read_last():
    data = dataset("none", 5, bos=True)
    plain = dataset("none", 5)
    data.bos_predicts_bos = True
    before = 0
    for i in range(len(data)):
        (source, target), (read, asked) = data.pair(i), plain.pair(i)
        assert source.tolist() == [before, *read.tolist()] and target.tolist() == [0, *asked.tolist()]
        before = read.tolist()[-1]


def test_a_batch_says_where_its_rows_stand():
    data = dataset("eos", 5)
    order_for_scoring(data.blocks, 3, 1)
    batch = data.collater([data[1], data[2]])
    assert batch["begins"].tolist() == [False, True] and batch["rows"].tolist() == [2, 0]  # the longest come first
    assert data.collater([]) == {} and len(data) == sum(-(-n // 5) for n in Items().sizes)
