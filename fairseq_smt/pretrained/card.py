"""The model card of an exported folder."""

import math
from typing import Any

from fairseq_smt.pretrained.folder import PROGRAM, Config

KINDS = {
    "character": "characters",
    "byte": "bytes",
    "sentencepiece": "sentencepiece subwords",
    "line": "symbols between spaces",
}

CEILING = "DMT moves the readout away from the labels: as a rule its `ceiling_nll` lies above that of SMT.\n"


def card(config: Config, training: dict[str, Any], command: str, program: bool) -> str:
    """README.md of a folder.

    Args:
        training: what is known of the training, by its name; `losses` are logged values by theirs.
        command: what wrote the folder.
        program: whether the step is in it as a program.
    """
    size = config.model
    memory = f"{size['memory_tokens']} × {size['memory_width']}"
    facts = {"trained on": training.get("data"), "criterion": training.get("criterion")}
    facts |= {"updates": training.get("updates")} | training.get("losses", {})
    rows = "".join(f"| {name} | {shown(value)} |\n" for name, value in facts.items() if value is not None)
    above = CEILING if training.get("criterion") == "dmt" and "ceiling_nll" in facts else ""
    step = f"\n`{PROGRAM}` is one step as a program of `torch.export`.\n" if program else ""
    return (
        "# A recurrent language model\n\n"
        f"It reads and writes {KINDS[config.text['kind']]} ({size['vocabulary']:,} in its dictionary) with constant "
        f"memory, {memory} numbers, and constant time per symbol. Cell `{size['cell']}`.\n\n"
        f"| | |\n|---|---|\n{rows}\n"
        f"Losses are those of the checkpoint's last validation; every `*_nll` is in bits per symbol.\n{above}\n"
        f"Written by\n\n```bash\n{command}\n```\n\nIn this folder,\n\n"
        '```bash\nfairseq-smt-stream . --prompt "To be"\n```\n\n'
        "writes text; `fairseq_smt.pretrained.Pretrained.load` reads the folder in Python.\n"
        f"{step}"
    )


def shown(value: Any) -> str:
    """A number with few digits, anything else on one line of a table."""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "not finite"
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).replace("|", "/").split())
