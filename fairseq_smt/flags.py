"""fairseq's flags out of the dataclasses of the core, so that a flag, its default and its help are said once."""

from collections.abc import Iterable, Mapping
from dataclasses import field, fields, make_dataclass
from types import MappingProxyType

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_smt.core.configs import flag_of

NO_CHOICES: Mapping[str, Iterable[str]] = MappingProxyType({})


def flags_of(*configs: type, choices: Mapping[str, Iterable[str]] = NO_CHOICES) -> type[FairseqDataclass]:
    """A base class for the config of a model or criterion with a flag for every field of some dataclasses.

    Its subclass adds flags of its own, or replaces one (`seed: int = II("common.seed")`).
    `core.configs.from_flags` is the way back.

    Args:
        choices: what a flag may be, by its name.
    """
    made = [
        (
            flag_of(f),
            ChoiceEnum(list(choices[flag_of(f)])) if flag_of(f) in choices else f.type,
            field(default=f.default, metadata={key: text for key, text in f.metadata.items() if key != "flag"}),
        )
        for config in configs
        for f in fields(config)
    ]
    return make_dataclass("Flags", made, bases=(FairseqDataclass,))
