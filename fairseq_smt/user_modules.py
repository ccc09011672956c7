"""`--user-dir`, which makes a process one of a command, however and however early the plugin was imported."""

from typing import Any

from fairseq import utils

from fairseq_smt.replacing import replace


def import_user_module(args: Any) -> None:
    """fairseq's function, and what commands get beside it."""
    _import_user_module(args)
    if import_user_module.memo:
        from fairseq_smt import console  # noqa: F401


import_user_module.memo = getattr(utils.import_user_module, "memo", set())  # fairseq looks for it at this name
_import_user_module = replace(utils, "import_user_module", import_user_module)
