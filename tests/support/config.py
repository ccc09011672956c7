"""The configuration that a fairseq command makes of its command line, in this process."""

from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

import fairseq_smt

PARSERS = {
    "train": options.get_training_parser,
    "eval-lm": options.get_eval_lm_parser,
    "generate": options.get_generation_parser,
    "interactive": options.get_interactive_generation_parser,
}


def config(monkeypatch, command: str, *flags: object) -> DictConfig:
    """fairseq's whole configuration for `fairseq-COMMAND` with some flags."""
    fairseq_smt.register()
    line = list(map(str, flags))
    monkeypatch.setattr("sys.argv", [f"/usr/bin/fairseq-{command}", *line])
    args = options.parse_args_and_arch(PARSERS[command](), line)
    return convert_namespace_to_omegaconf(args)
