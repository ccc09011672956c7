"""What fairseq lacks on today's torch and hydra.

Its checkpoints' plain containers are allowed in `torch.load(weights_only=True)`. Without them the second and later
processes of a distributed run cannot resume (they unpickle the checkpoint that the first one broadcasts). Every entry
is a container or a scalar type: loading one executes nothing.

Its encoders `--bpe characters` and `--bpe bytes` get a config, without which no command accepts them.
"""

import argparse
import collections
import typing
from dataclasses import dataclass

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.registry import REGISTRIES
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

torch.serialization.add_safe_globals(
    [
        typing.Any,
        AnyNode,
        Metadata,
        ContainerMetadata,
        ListConfig,
        DictConfig,
        int,
        dict,
        list,
        collections.defaultdict,
        argparse.Namespace,
        _TensorPlaceholder,
    ]
)


@dataclass
class EncoderWithoutOptions(FairseqDataclass):
    """The config of an encoder that has none in fairseq."""


for _name in ("characters", "bytes"):
    if _name not in REGISTRIES["bpe"]["dataclass_registry"]:
        REGISTRIES["bpe"]["dataclass_registry"][_name] = EncoderWithoutOptions
        _node = EncoderWithoutOptions()
        _node._name = _name
        ConfigStore.instance().store(name=_name, group="bpe", node=_node, provider="fairseq_smt")
