"""Rollouts: the RNN run on its own memories over a block, step by step or side by side.

`sequential` is the specification. The others trade its depth of T cell calls for restarts:

    chunked    restart from given memories every C positions, all chunks side by side: depth C, the same work
    warm       chunks restart from the RNN's own memories of an earlier pass, which began at m_∅ or at given memories:
               depth (passes + 1) · C
    jacobi     k sweeps over all positions at once, from given memories: depth k, k times the work

A chunk begins at 0 and at every position p with p % C == offset. Positions are those of the block, T in all; memories
are those after each input.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fairseq_smt.core.cells.exact import in_full_precision
from fairseq_smt.core.errors import require
from fairseq_smt.core.gradient import pass_without_gradient


def sequential(cell: nn.Module, memory: Tensor, inputs: Tensor, detach: int = 0) -> Tensor:
    """Apply the cell once per position.

    Args:
        cell: f.
        memory: the memory before the first input, (B, K, d).
        inputs: `cell.inputs(tokens)`, (B, T, ·).
        detach: cut the gradient through the memory before every `detach`-th position; 0 for never.

    Returns:
        m̂_0..m̂_{T-1}, the memory after each input, (B, T, K, d).
    """
    if hasattr(cell, "run") and not detach and inputs.shape[1] and in_full_precision(inputs):
        return cell.run(memory, inputs)
    return step_by_step(cell, memory, inputs, detach)


def step_by_step(cell: nn.Module, memory: Tensor, inputs: Tensor, detach: int = 0) -> Tensor:
    """`sequential` for any cell, by its steps."""
    memories = []
    for t, x in enumerate(inputs.unbind(1)):
        if detach and t and t % detach == 0:
            memory = memory.detach()
        memory = cell(memory, x)
        memories.append(memory)
    if not memories:
        return memory[:, None][:, :0]
    return torch.stack(memories, dim=1)


@dataclass(frozen=True)
class Chunks:
    """A division of T positions into chunks of C: [0, offset), [offset, offset + C), …, the last one up to T.

    Raises:
        ConfigurationError: for a chunk length that is not positive.
    """

    length: int
    chunk: int
    offset: int = 0

    def __post_init__(self) -> None:
        require(self.chunk > 0, f"a chunk must have at least one position, not {self.chunk}.")

    @property
    def size(self) -> int:
        """Positions of a chunk; no more than there are."""
        return min(self.chunk, self.length)

    @property
    def _first(self) -> int:
        """Where the first chunk would begin were it a full one; not after 0."""
        offset = self.offset % self.chunk
        return offset - self.chunk if offset else 0

    @property
    def number(self) -> int:
        """How many chunks there are, at least one."""
        return max(1, -(-(self.length - self._first) // self.chunk))

    @property
    def _head(self) -> int:
        """Positions of a first chunk that is cut short by the second; 0 if it is not."""
        return self.offset % self.chunk if self.number > 1 else 0

    def starts(self, device: torch.device | None = None) -> Tensor:
        """First positions, (chunks,), ascending; the first is 0."""
        return (torch.arange(self.number, device=device) * self.chunk + self._first).clamp(min=0)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, ...) → (B, chunks, C, ...), with any entries after a chunk that is shorter than C."""
        if self.number == 1:
            return x[:, None]
        head, tail = x[:, : self.size] if self._head else x[:, :0], x[:, self._head :]
        missing = self.number * self.size - head.shape[1] - tail.shape[1]
        pieces = torch.cat((head, tail, x[:, -1:].expand(-1, missing, *x.shape[2:])), dim=1)
        return pieces.unflatten(1, (self.number, self.size))

    def join(self, x: Tensor) -> Tensor:
        """(B, chunks, C, ...) → (B, T, ...), the inverse of `split`."""
        if not self._head:
            return x.flatten(1, 2)[:, : self.length]
        tail = x[:, 1:].flatten(1, 2)
        return torch.cat((x[:, 0, : self._head], tail[:, : self.length - self._head]), dim=1)

    def last(self, pieces: Tensor) -> Tensor:
        """The last entry of every chunk but the last one: (B, chunks - 1, C, ...) → (B, chunks - 1, ...)."""
        ends = self.starts(pieces.device).diff() - 1
        return pieces[:, torch.arange(len(ends), device=pieces.device), ends]

    def afresh(self, initial: Tensor) -> Tensor:
        """The start of all chunks from m_∅ (B, K, d): (B, chunks, K, d)."""
        return initial[:, None].expand(-1, self.number, -1, -1)

    def before(self, initial: Tensor, memories: Tensor) -> Tensor:
        """The memories that chunks start from: m_∅ (B, K, d), then those of (B, T, K, d) right before each chunk."""
        previous = self.starts(memories.device)[1:] - 1
        return torch.cat((initial[:, None].to(memories.dtype), memories[:, previous]), dim=1)


def side_by_side(cell: nn.Module, starts: Tensor, pieces: Tensor) -> Tensor:
    """Run chunks (B, chunks, C, ·) from their starts (B, chunks, K, d): (B, chunks, C, K, d)."""
    starts, pieces = (x.transpose(0, 1) for x in (starts, pieces))  # inputs of all but the last chunk are then in place
    memories = sequential(cell, starts.flatten(0, 1), pieces.flatten(0, 1))
    return memories.unflatten(0, pieces.shape[:2]).transpose(0, 1)


def from_starts(cell: nn.Module, starts: Tensor, pieces: Tensor, chunks: Chunks) -> Tensor:
    """Run every chunk from its start (B, chunks, K, d), side by side.

    Args:
        pieces: the inputs of the chunks, (B, chunks, C, ·), from tokens that `chunks` split or split themselves.

    Returns:
        (B, T, K, d).
    """
    return chunks.join(side_by_side(cell, starts, pieces))


def chunked(cell: nn.Module, initial: Tensor, labels: Tensor, inputs: Tensor, chunk: int, offset: int = 0) -> Tensor:
    """Restart from the label before every chunk, and from m_∅ at the block's beginning.

    Args:
        initial: m_∅, (B, K, d).
        labels: m_t of the teacher, (B, T, K, d).
        inputs: `cell.inputs(tokens)`, (B, T, ·).
        chunk, offset: C, and where the chunks lie.

    Returns:
        (B, T, K, d); with C ≥ T and offset 0 that of `sequential`.
    """
    if not inputs.shape[1]:
        return labels[:, :0]
    chunks = Chunks(inputs.shape[1], chunk, offset)
    return from_starts(cell, chunks.before(initial, labels), chunks.split(inputs), chunks)


def warm(cell: nn.Module, initial: Tensor, inputs: Tensor, chunk: int, offset: int = 0, passes: int = 1) -> Tensor:
    """Restart from the RNN's own memories: those of `passes` earlier passes without gradient, the first all from m_∅.

    With as many passes as there are chunks the values are those of `sequential`.

    Returns:
        (B, T, K, d), with gradients inside the chunks only.
    """
    if not inputs.shape[1]:
        return initial[:, None][:, :0]
    chunks = Chunks(inputs.shape[1], chunk, offset)
    pieces = chunks.split(inputs)
    return from_starts(cell, warm_starts(cell, chunks.afresh(initial), pieces, chunks, passes), pieces, chunks)


def warm_starts(cell: nn.Module, first: Tensor, pieces: Tensor, chunks: Chunks, passes: int) -> Tensor:
    """What chunks start from after some passes without gradient: the RNN's own memories, (B, chunks, K, d).

    The last chunk need not run for it.

    Args:
        first: what they start from in the first pass; the first chunk always starts from there, with its gradient.
    """
    starts = first
    for _ in range(passes if chunks.number > 1 else 0):
        with pass_without_gradient():
            memories = side_by_side(cell, starts[:, :-1], pieces[:, :-1])
        starts = torch.cat((first[:, :1], chunks.last(memories)), dim=1)
    return starts


def jacobi(
    cell: nn.Module, initial: Tensor, labels: Tensor, inputs: Tensor, sweeps: int, without_gradient: int = 0
) -> Tensor:
    """`sweeps` times m̂_{t+1} ← f(m̂_t, x_{t+1}) at all positions at once, from the labels.

    Args:
        without_gradient: sweeps, the first ones, that build no graph.

    Returns:
        (B, T, K, d); with sweeps ≥ T that of `sequential`.
    """
    require(sweeps > 0, f"jacobi needs at least one sweep, not {sweeps}.")
    memories = labels
    for sweep in range(sweeps):
        with pass_without_gradient() if sweep < without_gradient else nullcontext():
            source = torch.cat((initial[:, None].to(memories.dtype), memories[:, :-1]), dim=1)[:, : inputs.shape[1]]
            memories = cell(source.flatten(0, 1), inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
    return memories


def with_gradient(
    cell: nn.Module, starts: Tensor, memories: Tensor, pieces: Tensor, chunks: Chunks, detach: int
) -> Tensor:
    """Give a rollout that was made without gradient the gradient of one that is cut every `detach` positions.

    Every cut segment starts from its detached memory, so that all of them run side by side: depth `detach`, and one
    batched call of the cell for `detach` = 1. The values are those of `memories` again.

    Args:
        starts: the memories that the chunks started from, (B, chunks, K, d); their gradient is kept.
        memories: the rollout, (B, T, K, d).
        pieces: the inputs of its chunks, (B, chunks, C, ·).
    """
    detach = min(detach, chunks.size)
    segments = Chunks(chunks.size, detach)
    own = chunks.split(memories.detach()).flatten(0, 1)
    starts, inputs = segments.before(starts.flatten(0, 1), own), segments.split(pieces.flatten(0, 1))
    values = from_starts(cell, starts, inputs, segments)
    return chunks.join(values.unflatten(0, pieces.shape[:2]))
