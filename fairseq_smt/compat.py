"""What fairseq lacks on today's torch and hydra.

Its checkpoints' plain containers are allowed in `torch.load(weights_only=True)`. Without them the second and later
processes of a distributed run cannot resume (they unpickle the checkpoint that the first one broadcasts). Every entry
is a container or a scalar type: loading one executes nothing.

Its encoders `--bpe characters` and `--bpe bytes` get a config, without which no command accepts them.

Its copy of a checkpoint, by which `checkpoint_last.pt` is written, goes to a temporary name first, so that a run killed
meanwhile leaves the one before it whole.

Flags that cannot work (`--bf16`, by which the command line means a TPU) are refused before they crash.
"""

import argparse
import collections
import os
import shutil
import sys
import typing
from dataclasses import dataclass

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.file_io import PathManager
from fairseq.registry import REGISTRIES
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from fairseq_smt.errors import require

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


def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    """`PathManager.copy` for local files: the destination is the old file or the new one, never a part of it."""
    partial = f"{dst_path}.partial"
    shutil.copyfile(src_path, partial)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, dst_path)
    return True


_copy = PathManager.copy


def _copy_local_or_remote(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    remote = any(PathManager.path_requires_pathmanager(path) for path in (src_path, dst_path))
    return (_copy if remote else copy_whole)(src_path, dst_path, overwrite=overwrite)


PathManager.copy = staticmethod(_copy_local_or_remote)


def refuse_flags(arguments: list[str]) -> None:
    """Raise `ConfigurationError` for flags of fairseq's commands that cannot work."""
    require(
        not {"--bf16", "--memory-efficient-bf16"} & set(arguments),
        "--bf16 makes fairseq's command line look for a TPU: use --amp or --fp16, or fairseq-hydra-train with "
        "common.bf16=true.",
    )
    require(
        not any(argument.split("=")[-1] == "fully_sharded" for argument in arguments),
        "--ddp-backend fully_sharded hides the parts of a model from its objective: use pytorch_ddp or legacy_ddp.",
    )


if os.path.basename(sys.argv[0]).startswith("fairseq-"):
    refuse_flags(sys.argv[1:])
