"""fairseq's choice of the next symbol for one beam: greedy, or drawn with the same random numbers as by fairseq."""

import torch
from fairseq.search import BeamSearch, Sampling, Search
from torch import Tensor


def draw(probabilities: Tensor) -> Tensor:
    """One column per row of (B, W), not necessarily normalised: (B, 1).

    It is `torch.multinomial` without its checks, which take twice as long: the first of W exponential clocks rings.
    """
    return (probabilities / torch.empty_like(probabilities).exponential_()).argmax(-1, keepdim=True)


class Choice:
    """The next symbol of each row and its log-probability, by a search of fairseq's.

    Raises:
        KeyError: for a search that is not in `SEARCHES`.
    """

    SEARCHES = (BeamSearch, Sampling)

    def __init__(self, search: Search):
        self.sampled = {BeamSearch: False, Sampling: True}[type(search)]
        self.top_k = search.sampling_topk if self.sampled else 0
        self.top_p = search.sampling_topp if self.sampled else 0

    def __call__(self, lprobs: Tensor) -> tuple[Tensor, Tensor]:
        """(B, V) → symbols (B,), their log-probabilities (B,)."""
        if not self.sampled:
            score, token = lprobs.max(-1)
            return token, score
        if self.top_p > 0:
            kept, symbols = lprobs.exp().sort(descending=True)
            kept = self._nucleus(kept)
        elif self.top_k > 0:
            kept, symbols = lprobs.topk(self.top_k)
            kept = kept.exp()
        else:
            kept, symbols = lprobs.exp(), None
        column = draw(kept)
        token = column if symbols is None else symbols.gather(1, column)
        return token[:, 0], lprobs.gather(1, token)[:, 0]

    def _nucleus(self, ordered: Tensor) -> Tensor:
        """Of descending probabilities (B, V) the first whose sum reaches top_p, cut to the most of a row: (B, W)."""
        last = ordered.cumsum(-1).lt(self.top_p).sum(-1, keepdim=True).clamp_(max=ordered.shape[1] - 1)
        width = int(last.max()) + 1
        kept = ordered[:, :width]
        return kept if len(kept) == 1 else kept.masked_fill(torch.arange(width, device=last.device) > last, 0)

    def pass_over(self, lprobs: Tensor, vocabulary: int) -> None:
        """Use up the random numbers that fairseq draws while all rows are given, log-probabilities (B, T)."""
        if not self.sampled:
            return
        width = torch.full(lprobs.shape[1:], self.top_k if self.top_k > 0 else vocabulary)
        if self.top_p > 0:
            width = torch.where(lprobs.exp().lt(self.top_p).any(0).cpu(), vocabulary, 1)
        for columns in width.tolist():
            lprobs.new_empty(len(lprobs), columns).exponential_()
