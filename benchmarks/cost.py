"""What an update costs, as formulas in B, T and the model's sizes: FLOPs, calls one after another, numbers held.

A product of an (M, I) and an (I, O) matrix is 2·M·I·O FLOPs; all else is left out, because it is small. A pass with
gradient takes three products for each of the forward pass, and three and a half in attention, whose backward pass makes
the scores anew. Attention counts all pairs of positions, as torch's counter does, though a causal kernel skips half.
The step of the optimiser is left out, too. Kernels are torch's eager operations; a compiled or a fused layer has fewer.

Held are the numbers that the forward pass leaves for the backward pass beside the parameters, eagerly and in one
precision; what a kernel keeps per row (a norm, a logarithm) is left out. A trunk whose layers are large enough for the
fused passes of a CPU holds less: SMT up to a quarter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.depth import AT_ONCE, Depth, in_chunks, through_time
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.rollout import Chunks


@dataclass(frozen=True)
class Sizes:
    """An architecture: V, and the sizes of its three parts."""

    vocabulary: int = 88
    rnn: RnnConfig = field(default_factory=RnnConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    future: FutureConfig = field(default_factory=FutureConfig)

    @property
    def memory(self) -> int:
        """K·d."""
        return self.rnn.memory_tokens * self.rnn.memory_width


@dataclass(frozen=True)
class Work:
    """Of a forward pass: FLOPs of linear layers and of attention, numbers held, and kernels one after another."""

    linear: float = 0
    attention: float = 0
    held: float = 0
    kernels: float = 0

    def __add__(self, other: "Work") -> "Work":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Work(*(a + b for a, b in pairs))

    def repeated(self, times: float) -> "Work":
        """The same, `times` times one after another."""
        return Work(*(times * x for x in vars(self).values()))


BACKWARD_KERNELS = 2.3


@dataclass(frozen=True)
class Cost:
    """Of an update.

    Attributes:
        flops: of forward and backward passes.
        depth: calls of the cell, one after another, in the forward passes.
        held: numbers that wait for the backward pass.
        kernels: operations one after another, `BACKWARD_KERNELS` of the backward pass for each of the forward pass.
    """

    flops: float
    depth: int
    held: float
    kernels: float


def cost(depth: Depth, trained: Work, without_gradient: Work | None = None) -> Cost:
    """The cost of passes with gradient and of passes without."""
    free = without_gradient or Work()
    flops = 3 * trained.linear + 3.5 * trained.attention + free.linear + free.attention
    return Cost(flops, depth.forward, trained.held, (1 + BACKWARD_KERNELS) * trained.kernels + free.kernels)


# --- parts ---


def linear(rows: float, inputs: int, outputs: int) -> Work:
    """A matrix product of `rows` rows; 2·rows·inputs·outputs FLOPs, and its input is held."""
    return Work(linear=2 * rows * inputs * outputs, held=rows * inputs, kernels=1)


def block(sequences: float, length: int, width: int, *, taps: int = 0, rotary: bool = True) -> Work:
    """A Transformer block: 24·N·L·D² FLOPs and 4·N·L²·D of attention for N sequences of L positions.

    Per number of its input it holds 18: two norms' inputs, 1 and 3 in front of and behind the products to queries, keys
    and values, the output of attention, and 4 twice in the MLP among them. Rotary positions add 3, `taps` one each.
    """
    numbers = sequences * length * width
    return Work(
        linear=24 * numbers * width,
        attention=4 * numbers * length,
        held=numbers * (18 + 3 * rotary + taps),
        kernels=20 + 15 * rotary + 3 * taps,
    )


def decoding(rows: float, inputs: int, vocabulary: int) -> Work:
    """A head and the cross entropy of its logits, which holds their V log-probabilities."""
    return linear(rows, inputs, vocabulary) + Work(held=rows * vocabulary, kernels=7)


def readout(sizes: Sizes, rows: float) -> Work:
    """g(m) and its loss at `rows` memories."""
    hidden = sizes.rnn.readout_hidden
    first = linear(rows, sizes.memory, hidden) + Work(held=rows * hidden, kernels=1) if hidden else Work()
    return first + decoding(rows, hidden or sizes.memory, sizes.vocabulary)


def mlp_step(sizes: Sizes, rows: float) -> Work:
    """4·H·K·d FLOPs a row; the memory, and H in front of and behind the GELU, are held."""
    hidden = sizes.rnn.cell_hidden
    return Work(4 * rows * sizes.memory * hidden, 0, rows * (sizes.memory + 2 * hidden), 6.5)


def gru_step(sizes: Sizes, rows: float) -> Work:
    """6·(K·d)² FLOPs a row; the memory, its part of the three gates and what is new are held."""
    return Work(6 * rows * sizes.memory**2, 0, 5 * rows * sizes.memory, 8.5)


def lstm_step(sizes: Sizes, rows: float) -> Work:
    """2·(K·d)² FLOPs a row of K·d / 2 units; the memory, four gates and the bent state are held."""
    return Work(2 * rows * sizes.memory**2, 0, 3.5 * rows * sizes.memory, 5)


def transformer_step(sizes: Sizes, rows: float) -> Work:
    """`cell_layers` blocks over K + 1 tokens a row."""
    rnn = sizes.rnn
    layer = block(rows, rnn.memory_tokens + 1, rnn.memory_width, rotary=False)
    return layer.repeated(rnn.cell_layers) + Work(held=rows * sizes.memory, kernels=7)


def slots_step(sizes: Sizes, rows: float) -> Work:
    """12·d² FLOPs a row for the register, 4·d·(K - 2) for two addresses; held are 4·K·d numbers and the register's."""
    tokens, width = sizes.rnn.memory_tokens, sizes.rnn.memory_width
    products = linear(rows, width, 3 * width + 1) + linear(2 * rows, width, tokens - 2) + linear(rows, width, 3 * width)
    return products + Work(held=rows * (4 * sizes.memory + 7 * width + 3 * tokens), kernels=31)


CELL_STEPS: dict[str, Callable[[Sizes, float], Work]] = {
    "mlp": mlp_step,
    "gru": gru_step,
    "slots": slots_step,
    "lstm": lstm_step,
    "transformer": transformer_step,
}
"""Work of one call of the cell on `rows` rows, by `--cell`."""


def cell_inputs(sizes: Sizes, tokens: float) -> Work:
    """What the cell makes of the tokens alone: 2·H FLOPs per number of a step's input, once for each of V symbols."""
    numbers = {"gru": 3 * sizes.memory, "lstm": 2 * sizes.memory, "slots": 5 * sizes.rnn.memory_width + 1}
    table = tokens > sizes.vocabulary
    if sizes.rnn.cell not in numbers:
        return Work(kernels=1)
    work = linear(sizes.vocabulary if table else tokens, sizes.rnn.cell_hidden, numbers[sizes.rnn.cell])
    return replace(work, held=0) if table else work


def run(sizes: Sizes, rows: float, steps: int) -> Work:
    """`steps` calls of the cell one after another, each on `rows` rows; what a run by hand starts from is held, too."""
    starts = Work(held=0 if sizes.rnn.cell == "transformer" else rows * sizes.memory)
    return CELL_STEPS[sizes.rnn.cell](sizes, rows).repeated(steps) + starts


def trunk(sizes: Sizes, batch: int, length: int, layers: int) -> Work:
    """The first layers of the trunk over B blocks of T."""
    t = sizes.teacher
    return block(batch, length, t.trunk_width, taps=t.trunk_convolution).repeated(layers)


def labels(sizes: Sizes, batch: int, length: int, windows: int) -> Work:
    """The teacher's labels, K·d numbers each: of all B·T positions, or with head `window` of `windows` per block.

    A window of W tokens and K registers costs a label what W positions of a trunk do. The scan is the loop of a CPU.
    """
    t, memory, slots, tokens = sizes.teacher, sizes.memory, sizes.rnn.memory_tokens, batch * length
    width, normalized = t.trunk_width, Work(held=tokens * memory, kernels=5)
    if t.memory_head == "window":
        rows = batch * windows
        layer = block(rows, min(t.teacher_window, length) + slots, width)
        ends = linear(rows * slots, width, sizes.rnn.memory_width) + Work(held=rows * (2 * width * slots + memory))
        return layer.repeated(t.trunk_layers) + ends + Work(kernels=20)
    last_norm = Work(held=tokens * width, kernels=6)
    if t.memory_head == "projection":
        head = linear(tokens, width, memory)
    elif t.memory_head == "scan":  # gates, contents, what is kept, states and their stack
        both = linear(tokens, width, 2 * memory)
        head = both + Work(held=tokens * memory * 4, kernels=2 * length)
    else:
        layers, columns = t.register_layers, 1 + slots
        numbers = tokens * columns * width
        reading = Work(  # keys and values come from the token's column alone
            linear=numbers * width * 20 + tokens * width * 4 * width,
            attention=4 * numbers * length,
            held=numbers * 18 + tokens * width * (2 * columns + 3 + t.trunk_convolution),
            kernels=45 + 3 * t.trunk_convolution,
        )
        head = linear(tokens * slots, width, sizes.rnn.memory_width) + last_norm.repeated(slots)
        first = trunk(sizes, batch, length, t.trunk_layers - layers)
        return first + reading.repeated(layers) + last_norm + head + normalized
    return trunk(sizes, batch, length, t.trunk_layers) + last_norm + head + normalized


def future(sizes: Sizes, pairs: float) -> Work:
    """The future predictor from `pairs` memories, S targets each."""
    f, slots = sizes.future, sizes.rnn.memory_tokens
    if f.future == "far":
        features = sizes.memory + 8 * f.future_width + 40
        gates = linear(pairs * f.futures, features, 8 * f.future_width)
        return gates + decoding(pairs * f.futures, 4 * f.future_width, sizes.vocabulary) + Work(kernels=60)
    length, width = slots + f.futures - 1, f.future_width
    blocks = block(pairs, length, width).repeated(f.future_layers)
    memory_in = linear(pairs * slots, sizes.rnn.memory_width, width)
    last_norm = Work(held=pairs * length * width, kernels=25)
    return memory_in + blocks + last_norm + decoding(pairs * f.futures, width, sizes.vocabulary)


def draws(number: int) -> Work:
    """Positions or offsets, drawn by a counter-based generator of some 60 operations on whole numbers."""
    return Work(kernels=60 * number)


def variance(sizes: Sizes, positions: float) -> Work:
    """The variance of labels, which every update reports: 4·K·d FLOPs a position."""
    return Work(linear=4 * positions * sizes.memory, kernels=10)


def uniformity(tokens: int, width: int) -> Work:
    """All pairs of N memory tokens: 2·N²·d FLOPs and twice 2·N² for their sum, one of them backwards; held are all."""
    return Work(2 * tokens**2 * (width + 2 / 3), 0, 2.5 * tokens**2 + 2 * tokens * width, 16)


# --- methods ---


def smt(sizes: Sizes, batch: int, length: int, objective: SupervisedMemoryTraining | None = None) -> Cost:
    """SMT: labels, then the cell, the readout and the future predictor at drawn positions; one call of the cell."""
    o, memory, window = objective or SupervisedMemoryTraining(), sizes.memory, sizes.teacher.memory_head == "window"
    n = o.label_pairs if window else o.dynamics_positions or length
    trunk_head = Work() if window else decoding(batch * length, sizes.teacher.trunk_width, sizes.vocabulary)
    drawn = min(o.uniformity_tokens, batch * n * sizes.rnn.memory_tokens)
    work = labels(sizes, batch, length, 2 * o.label_pairs) + trunk_head
    work += readout(sizes, batch * o.readout_positions) + future(sizes, batch * o.future_positions)
    work += cell_inputs(sizes, batch * n) + run(sizes, batch * n, 1) + Work(held=batch * n * memory, kernels=20)
    free = draws(5) + variance(sizes, batch * (n if window else length))
    return cost(AT_ONCE, work + uniformity(drawn, sizes.rnn.memory_width), free)


def losses(sizes: Sizes, tokens: float, drift: bool) -> Work:
    """The readout at every position, and with `drift` the squared error against the labels, whose differences wait."""
    return readout(sizes, tokens) + Work(held=tokens * sizes.memory * drift, kernels=12)


def dmt(
    sizes: Sizes, batch: int, length: int, *, chunk: int = 16, cut: int = 16, offset: int = 1, cached: bool = False
) -> Cost:
    """DMT in chunks of C from the labels; a gradient cut every `cut` < C positions costs a pass without one first.

    Args:
        chunk: C; with T and offset 0 the sequential rollout.
        offset: of the chunks, 0 to C - 1; one other than 0 makes a partial chunk at either end.
        cached: whether labels are read and not made.
    """
    chunks = Chunks(length, chunk, offset)
    tokens, rows, steps = batch * length, batch * chunks.number, chunks.size
    made = draws(1) + variance(sizes, tokens) + (Work() if cached else labels(sizes, batch, length, length))
    trained = cell_inputs(sizes, rows * steps) + losses(sizes, tokens, drift=True)
    depth = in_chunks(steps, {min(cut, steps)})
    if cut >= steps:
        return cost(depth, trained + run(sizes, rows, steps), made)
    segments = -(-steps // cut)
    return cost(depth, trained + run(sizes, rows * segments, cut), made + run(sizes, rows, steps))


def chunked_bptt(sizes: Sizes, batch: int, length: int, *, chunk: int = 16, passes: int = 1, offset: int = 1) -> Cost:
    """Chunked BPTT: `passes` passes without gradient over all chunks, then one with; the depth is (passes + 1)·C."""
    chunks, tokens = Chunks(length, chunk, offset), batch * length
    rows, steps = batch * chunks.number, chunks.size
    trained = cell_inputs(sizes, rows * steps) + run(sizes, rows, steps) + losses(sizes, tokens, drift=False)
    trained += Work(kernels=10)  # cutting blocks into chunks and joining them
    first = run(sizes, rows - batch, steps).repeated(passes)  # no chunk starts where the last one ends
    return cost(in_chunks(steps, {steps}, passes), trained, draws(1) + first)


def bptt(sizes: Sizes, batch: int, length: int) -> Cost:
    """BPTT: T calls of the cell, all held."""
    tokens = batch * length
    return cost(
        through_time(length),
        cell_inputs(sizes, tokens) + run(sizes, batch, length) + losses(sizes, tokens, drift=False),
    )


METHODS: dict[str, Callable[[Sizes, int, int], Cost]] = {
    "SMT": smt,
    "DMT": dmt,
    "chunked BPTT": chunked_bptt,
    "BPTT": bptt,
}


@dataclass(frozen=True)
class Accelerator:
    """What a prediction of time assumes; the larger of both times counts.

    Attributes:
        peak: FLOPs per second of dense matrix products.
        utilisation: share of the peak that the products reach.
        latency: seconds from one kernel to the next.
    """

    peak: float = 989e12
    utilisation: float = 0.3
    latency: float = 5e-6

    def seconds(self, cost: Cost) -> float:
        """Seconds of an update: its FLOPs, or its kernels one after another where these take longer."""
        return max(cost.flops / (self.peak * self.utilisation), cost.kernels * self.latency)


H100 = Accelerator()
"""NVIDIA H100 SXM in bfloat16."""
