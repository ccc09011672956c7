"""fairseq_smt: recurrent language models pretrained without backpropagation through whole sequences.

`fairseq_smt.core` is plain torch. The task, models and criterions are registered with fairseq when this package is
imported by a fairseq command (`--user-dir fairseq_smt`), or after `import fairseq`, or by `fairseq_smt.register()`.
`fairseq_smt.compat` lists what that changes in fairseq, `fairseq_smt.console` what it changes in commands only.
"""

import sys

__version__ = "0.1.0"
FAIRSEQ = "ve-fairseq==0.12.3"
"""What pip installs as fairseq: one release, because `compat` replaces functions inside of it."""


def register() -> None:
    """Register the task, models and criterions with fairseq; calling it twice does nothing more.

    Raises:
        ConfigurationError: when fairseq is not installed.
    """
    from fairseq_smt.errors import ConfigurationError

    try:
        import fairseq  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "fairseq":
            raise
        raise ConfigurationError(
            f"fairseq is not installed: run `pip install {FAIRSEQ}`; only fairseq_smt.core works without it."
        ) from None

    from fairseq.utils import import_user_module

    if getattr(import_user_module, "memo", None):  # `--user-dir` is importing this, or has
        from fairseq_smt import console  # noqa: F401
    from fairseq_smt import compat, criterions, models, tasks, user_modules  # noqa: F401


if sys.modules.get("fairseq"):
    register()
