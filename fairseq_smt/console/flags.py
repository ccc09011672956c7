"""Flags of fairseq's commands that cannot work, refused before they crash."""

import os
import sys

from fairseq_smt.errors import require


def refuse_flags(arguments: list[str]) -> None:
    """Raise `ConfigurationError` for a flag that cannot work, such as --bf16, which means a TPU there."""
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
