"""Checkpoints' plain containers, allowed in `torch.load(weights_only=True)`.

Without them the second and later processes of a distributed run cannot resume: they unpickle the checkpoint that the
first one broadcasts. Every entry is a container or a scalar type: loading one executes nothing.
"""

import argparse
import collections
import typing

import torch
from fairseq.distributed.utils import _TensorPlaceholder
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

SAFE_GLOBALS = [
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

torch.serialization.add_safe_globals(SAFE_GLOBALS)
