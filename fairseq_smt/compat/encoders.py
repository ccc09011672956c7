"""A config for fairseq's encoders `--bpe characters` and `--bpe bytes`, without which no command accepts them."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.registry import REGISTRIES
from hydra.core.config_store import ConfigStore


@dataclass
class EncoderWithoutOptions(FairseqDataclass):
    """The config of an encoder that has none in fairseq."""


for _name in ("characters", "bytes"):
    if _name not in REGISTRIES["bpe"]["dataclass_registry"]:
        REGISTRIES["bpe"]["dataclass_registry"][_name] = EncoderWithoutOptions
        _node = EncoderWithoutOptions()
        _node._name = _name
        ConfigStore.instance().store(name=_name, group="bpe", node=_node, provider="fairseq_smt")
