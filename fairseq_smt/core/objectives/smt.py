"""Supervised Memory Training: tokens in, named loss terms out.

One objective is one call on the core modules, so that a data-parallel wrapper sees every gradient:

    labels m_0..m_{T-1} = E(x)                          one pass of a causal teacher; else a few pairs
    future      CE of D(m_t, inputs after t)            makes m_t a predictive state
    readout     CE of g(m_t)                            the ceiling: the score of an RNN that follows the labels exactly
    trunk       CE of the trunk's own head              speeds the trunk up
    dynamics    MSE of f(m_{t-1}, x_t) against m_t      trains the cell one step at a time, m_∅ → m_0 included
    uniformity                                          keeps the memories apart

With cached labels, which a batch brings along, the readout and the cell learn from them; the trunk and the future
predictor have nothing to learn and are left out.
"""

from dataclasses import dataclass, field, fields
from functools import partial

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.core.decoding import decode
from fairseq_smt.core.diagnostics import effective_rank, label_variance
from fairseq_smt.core.errors import require, require_not_negative, require_positive
from fairseq_smt.core.gradient import pass_without_gradient
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.objectives.validation import score, unroll_and_score
from fairseq_smt.core.random import Draws, draw_positions, gather
from fairseq_smt.core.transitions import Transitions, label_transitions

DETACH = ("none", "source", "target", "both")


@dataclass
class Drawn:
    """n transitions of each block for one purpose: t (B, n), which of them count (B, n), and m_t (B, n, K, d)."""

    positions: Tensor
    mask: Tensor
    label: Tensor


@dataclass
class SupervisedMemoryTraining:
    """The SMT objective; the defaults are the recipe for text. Numbers of positions are at most `horizon`."""

    future_weight: float = field(default=0.5, metadata={"help": "coefficient of the future predictor's loss"})
    readout_weight: float = field(default=0.5, metadata={"help": "coefficient of the readout's loss on labels"})
    trunk_weight: float = field(default=1.0, metadata={"help": "coefficient of the trunk's own next-token loss"})
    dynamics_weight: float = field(
        default=0.1, metadata={"help": "coefficient of the parallel transition loss MSE(f(m_t, x_t+1), m_t+1)"}
    )
    pursuit_weight: float = field(
        default=0.0,
        metadata={
            "help": "coefficient of the asymmetric transition loss: detached label, mean plus worst 1/32 of positions"
        },
    )
    uniformity_weight: float = field(default=0.001, metadata={"help": "coefficient of the uniformity loss"})
    future_positions: int = field(default=4, metadata={"help": "positions per block whose future is predicted"})
    readout_positions: int = field(default=16, metadata={"help": "positions per block at which the readout is trained"})
    dynamics_positions: int = field(default=32, metadata={"help": "transitions per block; 0: every one"})
    label_pairs: int = field(  # the three numbers above then draw from these
        default=4, metadata={"help": "transitions per block that are labelled with --memory-head window"}
    )
    uniformity_tokens: int = field(
        default=512, metadata={"help": "memory tokens in the uniformity loss, at most those of a batch"}
    )
    detach: str = field(
        default="none",
        metadata={"help": "side of the symmetric transition loss that gets no gradient", "flag": "dynamics_detach"},
    )
    horizon: int = field(
        default=128,
        metadata={"help": "T, length of a full block, up to which drift is reported", "flag": "tokens_per_sample"},
    )
    diagnostics_interval: int = field(
        default=10, metadata={"help": "updates between measurements of effective rank and shuffled memories"}
    )
    seed: int = field(default=1, metadata={"help": "of the position draws"})

    def __post_init__(self) -> None:
        require(
            self.detach in DETACH, f"--dynamics-detach {self.detach} is unknown; choose one of {', '.join(DETACH)}."
        )
        positive = ("future_positions", "readout_positions", "label_pairs", "uniformity_tokens", "diagnostics_interval")
        require_positive(**{name: getattr(self, name) for name in positive})
        weights = {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_weight")}
        require_not_negative(**weights, dynamics_positions=self.dynamics_positions)
        for name in ("future_positions", "readout_positions", "dynamics_positions", "label_pairs"):
            wanted, default = getattr(self, name), getattr(type(self), name)
            require(  # shorter blocks go with the defaults: some of their positions are drawn twice
                wanted <= max(self.horizon, default),
                f"--{name.replace('_', '-')} {wanted} is more than a block has positions: --tokens-per-sample is "
                f"{self.horizon}.",
            )

    def __call__(
        self, modules: Modules, batch: Batch, *, update: int = 0, ramp: float = 1.0, training: bool = True
    ) -> Terms:
        """The loss of a batch, a float32 mean over it, with its terms in nats.

        Args:
            update: keys the draws; the same update and sample ids give the same positions in every process.
            ramp: factor on the two dynamics losses.
            training: False scores the readout at every position, and unrolls the RNN from m_∅ to score it too.
        """
        draw = Draws(self.seed, update, batch.ids)
        measured = not training or update % self.diagnostics_interval == 0
        transitions = label_transitions(modules, batch, draw, self.label_pairs)
        terms = Terms(loss=torch.zeros((), device=batch.inputs.device))

        ahead, read, steps, source = self._draw_transitions(modules, batch, transitions, draw, training)
        trunk = self._trunk(modules, batch, transitions, terms)
        future = self._future(modules, batch, ahead, draw, terms, measured)
        readout = self._readout(modules, batch, read, terms)
        dynamics = self._dynamics(modules, batch, steps, source, terms)
        spread = self._uniformity(steps, draw, terms)
        terms.loss = self.trunk_weight * trunk + self.future_weight * future + self.readout_weight * readout
        terms.loss = terms.loss + ramp * dynamics + self.uniformity_weight * spread

        real = transitions.real
        terms.add_mean("label_variance", label_variance(transitions.label, real), real.sum())
        if measured:
            label, mask = steps.label.flatten(0, 1), steps.mask.flatten()
            first = torch.argsort(~mask, stable=True)[:512]
            terms.add_mean("effective_rank", effective_rank(label[first], mask[first]), mask.sum())
        else:
            terms.skip("effective_rank")
        if training:
            terms.add_mean("dynamics_ramp", torch.full_like(spread, ramp), real.sum())
        else:
            unroll_and_score(modules, batch, terms, self.horizon, partial(self._labels_at, modules, batch, transitions))
        return terms

    def of_labels(self, modules: Modules, batch: Batch, label: Tensor) -> Tensor:
        """What depends on each label, (B, T, K, d): its terms at every position, with the ramp at 1, summed over t.

        L = Σ_t [ λ_future · mean_s CE(y_s, D(m_t, x_{t+1}..x_s)) + λ_readout · CE(y_t, g(m_t))
                  + λ_dynamics · MSE(f(m_{t-1}, x_t), m_t) + λ_pursuit · pursuit ]

        The trunk's own loss does not depend on labels, and uniformity belongs to the whole set: they are left out.
        """
        eligible, asked, real = modules.future.eligible(batch.real, batch.asked), batch.asked, batch.real
        t = torch.arange(label.shape[1], device=label.device).expand(real.shape)
        source = Transitions(t, real, label).source(modules.rnn.initial(len(label)))
        draw, terms = Draws(self.seed, 0, batch.ids), Terms(loss=torch.zeros((), device=label.device))
        future = self._future(modules, batch, Drawn(t * eligible, eligible, label), draw, terms)
        readout = self._readout(modules, batch, Drawn(t, asked, label), terms)
        dynamics = self._dynamics(modules, batch, Drawn(t, real, label), source, terms)
        decoding = self.future_weight * future * eligible.sum() + self.readout_weight * readout * asked.sum()
        return decoding + dynamics * real.sum()

    def _draw_transitions(
        self, modules: Modules, batch: Batch, transitions: Transitions, draw: Draws, training: bool
    ) -> tuple[Drawn, Drawn, Drawn, Tensor]:
        """Transitions to predict the future from, to read out and to train the cell on, and the last ones' m_{t-1}.

        The readout is trained at drawn positions and scored at all labelled ones. Cached labels cannot become more
        predictive: no future is drawn for them.
        """
        ahead, read, steps = None, None, None
        eligible = real = transitions.real
        asked = transitions.of_block(batch.asked) & real
        if batch.labels is None:
            eligible = transitions.of_block(modules.future.eligible(batch.real, batch.asked)) & real
            ahead, eligible = draw_positions(eligible, draw("future", self.future_positions))
        if training:
            read, asked = draw_positions(asked, draw("readout", self.readout_positions))
        if self.dynamics_positions and transitions.before is None:
            steps, real = draw_positions(real, draw("dynamics", self.dynamics_positions))
        initial = modules.rnn.initial(len(batch.inputs))
        source, label, to_read, to_predict_from = transitions.memories(initial, steps, read, ahead)
        return (
            Drawn(transitions.positions_of(ahead), eligible, to_predict_from),
            Drawn(transitions.positions_of(read), asked, to_read),
            Drawn(transitions.positions_of(steps), real, label),
            source,
        )

    @staticmethod
    def _trunk(modules: Modules, batch: Batch, transitions: Transitions, terms: Terms) -> Tensor | float:
        """CE of the trunk's own head, for a teacher that has a trunk."""
        if transitions.hidden is None:
            terms.skip("trunk_nll")
            return 0.0
        head = modules.teacher.language_model_head
        total, *_ = decode(head, transitions.hidden, batch.targets, batch.asked)
        return terms.add("trunk_nll", total, batch.asked.sum())

    def _future(
        self, modules: Modules, batch: Batch, drawn: Drawn, draw: Draws, terms: Terms, measured: bool = False
    ) -> Tensor | float:
        """Decoding loss of the future predictor; when measured, also with the memories of another sequence."""
        if batch.labels is not None:
            terms.skip("shuffled_nll")
            terms.skip("future_nll")
            return 0.0
        future, t, memory = modules.future, drawn.positions, drawn.label
        s, mask = future.targets_for(t, batch.asked, draw("future target", t.shape[1] * future.futures))
        mask = mask & drawn.mask[..., None]
        targets = gather(batch.targets, s)
        total, *_ = decode(future.out, future.features(memory, batch.inputs, t, s), targets, mask)
        if measured and len(memory) > 1:
            borrowed = mask & drawn.mask.roll(1, dims=0)[..., None]  # a row of padding has no memory to lend
            with pass_without_gradient():
                shuffled = future.features(memory.roll(1, dims=0), batch.inputs, t, s)
                terms.add("shuffled_nll", decode(future.out, shuffled, targets, borrowed)[0], borrowed.sum())
        else:
            terms.skip("shuffled_nll")
        return terms.add("future_nll", total, mask.sum())

    @staticmethod
    def _readout(modules: Modules, batch: Batch, drawn: Drawn, terms: Terms) -> Tensor:
        """CE of the readout on labels."""
        targets, scored = (gather(x, drawn.positions) for x in (batch.targets, batch.scored))
        return score(terms, "ceiling", modules.rnn.readout, drawn.label, targets, drawn.mask, scored)

    def _dynamics(self, modules: Modules, batch: Batch, drawn: Drawn, source: Tensor, terms: Terms) -> Tensor:
        """The dynamics losses, weighted, of the transitions from `source`, (B, n, K, d), to their labels."""
        positions, label, mask = drawn.positions, drawn.label, drawn.mask
        target = label.detach() if self.detach in ("target", "both") else label
        if self.detach in ("source", "both"):  # m_∅ belongs to the RNN and is trained all the same
            source = torch.where((positions == 0)[..., None, None], source, source.detach())
        cell = modules.rnn.cell
        inputs = cell.inputs(gather(batch.inputs, positions))
        prediction = cell(source.flatten(0, 1), inputs.flatten(0, 1)).view_as(label)
        symmetric = terms.add("dynamics", *losses.dynamics(prediction, target, mask))
        loss = self.dynamics_weight * symmetric
        if self.pursuit_weight:
            loss = loss + self.pursuit_weight * losses.pursuit(prediction, label, mask)
        return loss

    def _uniformity(self, drawn: Drawn, draw: Draws, terms: Terms) -> Tensor:
        """The uniformity loss of a few drawn memory tokens."""
        tokens, real = self._draw_tokens(drawn.label, drawn.mask, draw)
        return terms.add_mean("uniformity", losses.uniformity(tokens, mask=real), drawn.mask.sum())

    def _draw_tokens(self, label: Tensor, mask: Tensor, draw: Draws) -> tuple[Tensor, Tensor]:
        """Memory tokens for the uniformity loss, drawn from all sequences, positions and slots: (N, d).

        Those of real positions come first; which they are is the second result, (N,).
        """
        keys = draw("uniformity", label.shape[1] * label.shape[2]).view(label.shape[:3])
        keys = keys.masked_fill(~mask[..., None], 2.0).flatten()
        drawn = keys.topk(min(self.uniformity_tokens, len(keys)), largest=False)
        return label.flatten(0, 2)[drawn.indices], drawn.values < 1

    @staticmethod
    def _labels_at(modules: Modules, batch: Batch, transitions: Transitions, t: Tensor) -> Tensor:
        if transitions.before is None:
            return gather(transitions.label, t)
        return modules.teacher.at(batch.inputs, t, batch.real)
