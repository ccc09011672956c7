"""Blocks of a text as samples, with a bos that predicts, or with one target at their end."""

from typing import Any

from fairseq.data import MonolingualDataset
from torch import Tensor

from fairseq_smt.errors import require


class BosAwareDataset(MonolingualDataset):
    """Blocks whose bos has the token after it as its target.

    fairseq's dataset asks for bos after bos, so that a model generates `<s>` from an empty prompt. Scoring by
    fairseq-eval-lm skips that column and checks that it holds bos: see `SmtLanguageModelingTask.eval_lm_dataloader`.
    """

    bos_predicts_bos = False

    @classmethod
    def like(cls, plain: MonolingualDataset) -> "BosAwareDataset":
        """The same blocks as a dataset of fairseq's own class."""
        dataset = cls.__new__(cls)
        dataset.__dict__.update(plain.__dict__)
        return dataset

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A block, whose tokens are all in the dictionary."""
        source, target = self.pair(index)
        for tokens in (source, target):
            least, most = (int(token) for token in tokens.aminmax())
            require(
                0 <= least and most < len(self.vocab),
                f"block {index} of DATA holds symbol {most if least >= 0 else least}, dict.txt has {len(self.vocab)}: "
                "DATA's .bin is damaged, or its dict.txt is not the one it was made with; make the data anew.",
            )
        return {"id": index, "source": source, "target": target}

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Source and target of a block."""
        item = super().__getitem__(index)
        return item["source"], item["target"]

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """fairseq's batch with the rows' lengths as a list too, so that a curriculum reads nothing from a device."""
        batch = super().collater(samples)
        return batch | {"lengths": [len(sample["source"]) for sample in samples]} if batch else batch

    def _maybe_add_bos(self, source, target):
        first = source[:1].clone()
        source, target = super()._maybe_add_bos(source, target)
        if self.add_bos_token and not self.bos_predicts_bos and target is not None:
            target[:1] = self._filter_vocab(first)
        return source, target


class LastTargetDataset(BosAwareDataset):
    """Blocks of which the last target alone is asked for; the others are pad, and `ntokens` counts one per block.

    fairseq-eval-lm scores a row's targets from its `start_indices` on.
    """

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        source, target = super().pair(index)
        target = target.clone()
        target[:-1] = self.tgt_vocab.pad()
        return source, target

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().collater(samples)
        return batch | {"ntokens": len(samples), "start_indices": [n - 1 for n in batch["lengths"]]} if batch else batch
