"""Decoders for fairseq's scorer and generator: the RNN, and the teacher's ceiling."""

from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor

from fairseq_smt.core.carried import Carried
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.teacher import CausalTeacher, WindowTeacher


class RecurrentDecoder(FairseqIncrementalDecoder):
    """The RNN alone. Its incremental state is one tensor, the memory (B, K, d)."""

    def __init__(self, dictionary, rnn: RecurrentLanguageModel):
        super().__init__(dictionary)
        self.rnn = rnn

    @property
    def stepped(self) -> RecurrentLanguageModel | None:
        """The RNN whose `step` gives what `forward` gives with an incremental state; None where it does not."""
        return self.rnn

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out=None,
        incremental_state=None,
        carried: Carried | None = None,
        src_lengths: Tensor | None = None,
        **_,
    ):
        """(B, T) tokens → logits (B, T, V), None; with an incremental state logits (B, 1, V) of the last token."""
        if carried is not None:
            first = carried.start(self.rnn.initial(len(prev_output_tokens)))
            logits, memory = self.rnn(prev_output_tokens, first, carried.read(src_lengths))
            carried.keep(memory)
            return logits, None
        if incremental_state is None:
            return self.rnn(prev_output_tokens)[0], None
        saved = self.get_incremental_state(incremental_state, "memory")
        if saved is None:
            logits, memory = self.rnn(prev_output_tokens)
        else:
            logits, memory = self.rnn.step(prev_output_tokens[:, -1], saved["memory"])
            logits = logits[:, None]
        self.set_incremental_state(incremental_state, "memory", {"memory": memory})
        return logits[:, -1:], None

    def reorder_incremental_state(self, incremental_state, new_order: Tensor) -> None:
        saved = self.get_incremental_state(incremental_state, "memory")
        if saved is not None:
            memory = saved["memory"].index_select(0, new_order)
            self.set_incremental_state(incremental_state, "memory", {"memory": memory})

    def max_positions(self) -> int:
        """The RNN has no longest input."""
        return 10**6


class TeacherDecoder(RecurrentDecoder):
    """The readout on the teacher's memories, g(E(x_≤t)). Generation reads the whole prefix at every step."""

    def __init__(self, dictionary, rnn: RecurrentLanguageModel, teacher: CausalTeacher | WindowTeacher):
        super().__init__(dictionary, rnn)
        self.teacher = (teacher,)  # in a tuple: the model owns it

    @property
    def stepped(self) -> None:
        return None

    def forward(self, prev_output_tokens: Tensor, encoder_out=None, incremental_state=None, **_):
        labels = self.teacher[0].labels(prev_output_tokens)
        if incremental_state is not None:
            labels = labels[:, -1:]
        return self.rnn.readout(labels), None
