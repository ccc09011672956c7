"""Trained models as folders that need neither fairseq nor a checkpoint: torch and safetensors read them.

from fairseq_smt.pretrained import Pretrained

lm = Pretrained.load("OUT")          # written by fairseq-smt-export
ids = lm.text.encode("To be")
logits, memory = lm.rnn(torch.tensor([[lm.start, *ids]]))
"""

from fairseq_smt.pretrained.model import Pretrained

__all__ = ["Pretrained"]
