"""The stack probe: values are pushed and popped, and what is popped is asked for. It shows whether a state is tracked.

v3 v5 pop v1 pop pop   →   v5, v1 and v3 at the pops, nothing elsewhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.data.probes.probe import Draw, Sequences, ValueProbe, difficulty


@dataclass
class Stack(ValueProbe):
    """Token 0 pops, the others are values that are pushed.

    Push and pop are equally likely. An empty stack is pushed on, a full one popped, and the last operation pops if it
    can. So there is a pop in every sequence, and no pop of nothing. A shorter draw is a prefix, but
    for its last operation.
    """

    depth: int = difficulty(4, "values that the stack can hold")

    name = "stack"
    shortest = 2

    @property
    def symbols(self) -> list[str]:
        return ["pop", *(f"v{i}" for i in range(self.values))]

    @property
    def instances(self) -> int:
        ways = [1] + [0] * self.depth  # sequences of operations that end at each height
        for _ in range(self.length - 1):
            pushed = [0] + [self.values * n for n in ways[:-1]]
            popped = ways[1:] + [0]
            ways = [a + b for a, b in zip(pushed, popped, strict=True)]
        return self.values * ways[0] + sum(ways[1:])

    def generate(self, draw: Draw, length: int) -> Sequences:
        pushes = draw.uniform(0, length) < 0.5
        pushes[:, -1] = False
        values = draw.integers(1, 1, self.vocabulary, length)
        stack = values.new_zeros(len(values), self.depth)
        height = values.new_zeros(len(values), 1)
        inputs, targets = torch.zeros_like(values), torch.zeros_like(values)
        for t in range(length):
            push = (height == 0) | (pushes[:, t : t + 1] & (height < self.depth))
            place = torch.where(push, height, height - 1)
            top = stack.gather(1, place)
            value = values[:, t : t + 1]
            inputs[:, t : t + 1] = torch.where(push, value, 0)
            targets[:, t : t + 1] = torch.where(push, 0, top)
            stack.scatter_(1, place, torch.where(push, value, top))
            height = torch.where(push, height + 1, place)
        return Sequences(inputs, targets, inputs == 0)
