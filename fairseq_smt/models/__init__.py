"""Model plugins, one file per registered name; `presets` gives them their architectures."""

from fairseq_smt.models import smt_lm  # noqa: F401, I001  (registered before its architectures)
from fairseq_smt.models import defaults, presets  # noqa: F401
