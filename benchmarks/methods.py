"""The methods that the studies compare: the stages of fairseq-train that each is made of."""

from collections.abc import Callable
from dataclasses import dataclass, replace

CELL_FLAGS = {
    "lstm": "--cell lstm --memory-tokens 8",  # h and c: with twice the 4 memory tokens h is as wide as other memories
    "slots": "--cell slots --memory-tokens 18 --memory-width 16",  # about as many numbers, in sixteen slots
}
"""What a cell asks of the memory beside its name."""

RATES = (0.002, 0.004, 0.008)
"""Where the search for a learning rate begins; it goes on in the same steps while the best one is at the edge."""


@dataclass(frozen=True)
class Stage:
    """One fairseq-train of a method.

    Attributes:
        name: tells its flags from those of all other stages of the study.
        flags: what makes it.
        measure: what the validation judges it by, if it is the last: an accuracy, which should be high, or a loss.
        share: of the method's budget.
        rates: learning rates to begin the search with, in steps of one factor.
        start: positions that a length curriculum begins at; 0 for none.
    """

    name: str
    flags: str
    measure: str
    share: float = 1.0
    rates: tuple[float, ...] = RATES
    start: int = 0

    @property
    def sign(self) -> int:
        """1 where a large measure is good, else -1."""
        return 1 if self.measure.endswith("accuracy") else -1

    @property
    def usual(self) -> float:
        """The learning rate in the middle of those that the search begins with."""
        return self.rates[len(self.rates) // 2]

    def grown(self, start: int) -> "Stage":
        """The same with a length curriculum from `start` positions; 0: without."""
        if not start:
            return self
        return replace(
            self, name=f"{self.name}-from-{start}", flags=f"{self.flags} --curriculum-start {start}", start=start
        )


@dataclass(frozen=True)
class Setting:
    """What the task of a study asks of all methods, as flags of fairseq-train.

    Attributes:
        length: T.
        ours: architecture and sizes of our models.
        rows: batch size of all that have no teacher.
        teacher: of both stages of SMT → DMT.
        smt, dmt: of one of them, batch size included.
        chunk: of chunked BPTT.
        cut, cut_rows: positions of a block of truncated BPTT with carried memory, and how many there are in a batch.
        texts: parts of T tokens that the validation split has: read side by side, as blocks of T that carry nothing.
        valid_batches: batches of T tokens in a validation.
        width: of fairseq's models.
        quality: `nll` or `accuracy`, of the RNN.
        share: of SMT in the budget.
    """

    length: int
    ours: str
    rows: str
    smt: str
    dmt: str
    teacher: str = ""
    chunk: str = "--chunk 16"
    cut: int = 32
    cut_rows: int = 64
    texts: int = 1
    valid_batches: int = 1
    width: int = 256
    quality: str = "nll"
    share: float = 0.3

    @property
    def measure(self) -> str:
        return f"rnn_{self.quality}"

    @property
    def valid(self) -> str:
        """Flags of a validation in blocks of T; fairseq takes one batch more than it is told."""
        return f"--max-valid-steps {self.valid_batches - 1}"

    def model(self, cell: str) -> str:
        """Flags of our model with a cell."""
        return f"{self.ours} {CELL_FLAGS.get(cell, f'--cell {cell}')}"

    def alone(self, cell: str) -> str:
        """Flags of the RNN without a teacher."""
        return f"{self.model(cell)} --memory-head none"


def rows_of_smt(rows: int) -> int:
    """Half of the other methods' batch, and two where there are as many."""
    return max(min(rows, 2), rows // 2)


Build = Callable[[Setting, str], tuple[Stage, ...]]
"""A method's stages, in a setting and with a cell."""


def smt_dmt(s: Setting, cell: str, smt: str = "smt", dmt: str = "dmt", more: str = "") -> tuple[Stage, ...]:
    """SMT, then DMT with `more` flags; a variant gives the stages that differ another name."""
    both = f"{s.model(cell)} {s.teacher}"
    return (
        Stage(f"{cell}-{smt}", f"{both} --criterion smt {s.smt}", s.measure, s.share),
        Stage(f"{cell}-{dmt}", f"{both} --criterion dmt --train rnn {s.dmt} {more}", s.measure, 1 - s.share),
    )


def bptt(s: Setting, cell: str) -> tuple[Stage, ...]:
    """Backpropagation through all T positions."""
    return (Stage(f"{cell}-bptt", f"{s.alone(cell)} --criterion cross_entropy {s.rows}", s.measure),)


def chunked_bptt(s: Setting, cell: str) -> tuple[Stage, ...]:
    """Chunks of a block side by side, from the memories of an earlier pass."""
    flags = f"{s.alone(cell)} --criterion chunked_bptt {s.chunk} {s.rows}"
    return (Stage(f"{cell}-chunked-bptt", flags, s.measure),)


def carried_bptt(s: Setting, cell: str) -> tuple[Stage, ...]:
    """Truncated BPTT: short blocks in the order of the text, each from the memory that the one before left."""
    blocks = f"--tokens-per-sample {s.cut} --batch-size {s.cut_rows} --carry-memory --carry-streams {s.texts}"
    blocks += f" --max-valid-steps {s.valid_batches * s.length // s.cut - 1}"
    return (Stage(f"{cell}-carried-bptt", f"{s.alone(cell)} --criterion cross_entropy {blocks}", s.measure),)


def carried_chunked_bptt(s: Setting, cell: str) -> tuple[Stage, ...]:
    """Chunked BPTT on blocks of T in the order of the text, each from the memory that the one before left."""
    flags = f"{s.alone(cell)} --criterion chunked_bptt {s.chunk} {s.rows} --carry-memory --carry-streams {s.texts}"
    return (Stage(f"{cell}-carried-chunked-bptt", flags, s.measure),)


def lstm_lm(s: Setting, cell: str) -> tuple[Stage, ...]:
    """fairseq's LSTM of one layer."""
    sizes = f"--decoder-embed-dim 64 --decoder-hidden-size {s.width} --decoder-out-embed-dim {s.width}"
    flags = f"--arch lstm_lm {sizes} --decoder-layers 1 --dropout 0 --criterion cross_entropy {s.rows}"
    return (Stage("lstm_lm", flags, s.measure),)


def transformer_lm(s: Setting, cell: str) -> tuple[Stage, ...]:
    """fairseq's Transformer of two layers, which sees the whole block and has no memory."""
    width = s.width // 2
    sizes = f"--decoder-embed-dim {width} --decoder-ffn-embed-dim {4 * width} --decoder-attention-heads 4"
    flags = f"--arch transformer_lm {sizes} --decoder-layers 2 --dropout 0 --criterion cross_entropy {s.rows}"
    return (Stage("transformer_lm", flags, s.measure),)


FAIRSEQ: dict[str, Build] = {"lstm_lm": lstm_lm, "transformer_lm": transformer_lm}
"""fairseq's own models, which have no cell of ours."""

BPTT: dict[str, Build] = {"BPTT": bptt, "chunked BPTT": chunked_bptt}
CARRIED: dict[str, Build] = {"carried BPTT": carried_bptt, "carried chunked BPTT": carried_chunked_bptt}
"""In the order of one text, which a curriculum would leave holes in."""

METHODS: dict[str, Build] = {"SMT → DMT": smt_dmt} | BPTT | CARRIED | FAIRSEQ


@dataclass(frozen=True)
class Entry:
    """A row of a study's tables."""

    method: str
    cell: str = ""
    start: int = 0

    def __str__(self) -> str:
        words = [self.method, self.cell, f"curriculum from {self.start}" if self.start else ""]
        return ", ".join(word for word in words if word)


def entries(methods: list[str], cells: list[str], starts: list[int]) -> list[Entry]:
    """All that goes together: an LSTM cannot follow labels, carried memory has no curriculum."""
    found = []
    for method in methods:
        for cell in [""] if method in FAIRSEQ else cells:
            if cell == "lstm" and method not in BPTT | CARRIED:
                continue
            kinds = {0} if method in CARRIED else dict.fromkeys(starts)
            found += [Entry(method, cell, start) for start in kinds]
    return found


def stages_of(build: Build, setting: Setting, entry: Entry) -> tuple[Stage, ...]:
    """An entry's stages, of which the first has its curriculum."""
    first, *rest = build(setting, entry.cell)
    return (first.grown(entry.start), *rest)
