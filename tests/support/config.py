"""The configuration that a fairseq command makes of its command line, in this process."""

import copy
from argparse import Namespace

from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig, open_dict

import fairseq_smt

PARSERS = {
    "train": options.get_training_parser,
    "eval-lm": options.get_eval_lm_parser,
    "generate": options.get_generation_parser,
    "interactive": options.get_interactive_generation_parser,
}
PARTS = ("task", "arch", "criterion", "optimizer", "lr_scheduler")
"""Flags that choose a part of the configuration, each with fields of its own."""

_made: dict[tuple, tuple[Namespace, DictConfig]] = {}


def config(monkeypatch, command: str, *flags: object) -> DictConfig:
    """fairseq's whole configuration for `fairseq-COMMAND` with some flags.

    hydra takes most of a second for one: what was made before of the same parts is changed where the flags differ.
    """
    fairseq_smt.register()
    line = list(map(str, flags))
    monkeypatch.setattr("sys.argv", [f"/usr/bin/fairseq-{command}", *line])
    args = options.parse_args_and_arch(PARSERS[command](), line)
    parts = (command, *(getattr(args, part, None) for part in PARTS))
    if parts not in _made:
        _made[parts] = args, convert_namespace_to_omegaconf(args)
    before, made = _made[parts]
    found = copy.deepcopy(made)
    with open_dict(found):
        for name, value in vars(args).items():
            if value != getattr(before, name, None):
                for group in found.values():
                    if isinstance(group, DictConfig) and name in group:
                        group[name] = value
    return found
