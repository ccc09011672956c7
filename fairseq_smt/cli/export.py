"""fairseq-smt-export: the RNN of a checkpoint as a folder that needs neither fairseq nor the teacher.

    fairseq-smt-export CHECKPOINT OUT

OUT gets config.json, model.safetensors, dict.txt, the sentencepiece model where there is one, and README.md. An earlier
export in OUT is replaced, nothing else. `fairseq_smt.pretrained.Pretrained.load` and fairseq-smt-stream read it.
"""

import argparse
import logging
import os
import shlex
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401
from fairseq import checkpoint_utils, utils

import fairseq_smt
from fairseq_smt.analysis.loading import Checkpoint, last_validation, load
from fairseq_smt.cli.flags import quieten
from fairseq_smt.data.folders import Kind, replaced_folder
from fairseq_smt.errors import require
from fairseq_smt.pretrained import Pretrained
from fairseq_smt.pretrained.card import card
from fairseq_smt.pretrained.folder import CARD, CONFIG, FILES, PROGRAM, SPECIAL
from fairseq_smt.pretrained.model import save
from fairseq_smt.pretrained.program import save_program
from fairseq_smt.pretrained.text import LineVocabulary

logger = logging.getLogger("fairseq_smt.cli.export")

EXPORT = Kind("OUT", "fairseq-smt-export", (CONFIG,), frozenset({CONFIG, CARD, PROGRAM, *FILES.values()}))
LOSSES = ("rnn_nll", "rnn_bpb", "ceiling_nll", "loss")
"""Logged values that the model card shows."""


def main(argv: list[str] | None = None) -> None:
    """Run the command.

    Raises:
        ConfigurationError: for whatever the user can put right.
    """
    quieten()
    args = parser().parse_args(argv)
    fairseq_smt.register()
    require(os.path.isfile(args.checkpoint), f"the checkpoint {args.checkpoint} does not exist: name another one.")
    state = checkpoint_utils.load_checkpoint_to_cpu(args.checkpoint)
    data = args.data or state["cfg"].task.get("data")
    require(
        args.data is not None or not data or os.path.isdir(utils.split_paths(data)[0]),
        f"{data}, the DATA that {args.checkpoint} was trained on, is not here: name the folder by --data.",
    )
    training = training_of(state, data)
    del state
    checkpoint = load(args.checkpoint, "model", data, {}, cpu=True)
    with replaced_folder(args.out, EXPORT) as folder:
        write(folder, checkpoint, training, command_of(args), args.program)
    logger.info(f"wrote {args.out}: fairseq-smt-stream {shlex.quote(args.out)} writes text")


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint of model smt_lm")
    p.add_argument("out", metavar="OUT", help="folder to write")
    p.add_argument("--data", metavar="DATA", help="folder of the training data; default: where it was in training")
    p.add_argument("--program", action="store_true", help=f"also write a step as a program of torch.export, {PROGRAM}")
    return p


def command_of(args: argparse.Namespace) -> str:
    """The command line for a model card, which says nothing of other folders."""
    words = ["fairseq-smt-export", os.path.basename(args.checkpoint), os.path.basename(os.path.normpath(args.out))]
    return shlex.join(words + ["--program"] * args.program)


def training_of(state: dict[str, Any], data: str | None) -> dict[str, Any]:
    """What a checkpoint knows of its training, for a model card."""
    history, cfg = state.get("optimizer_history") or [{}], state["cfg"]
    means = last_validation(state)
    folder = os.path.basename(os.path.normpath(utils.split_paths(data)[0])) if data else ""
    return {
        "data": f"the folder `{folder}`" if data else f"probe {cfg.task.probe}",
        "criterion": cfg.criterion.get("_name"),
        "updates": history[-1].get("num_updates"),
        "losses": {name: means[name] for name in LOSSES if name in means},
    }


def write(folder: Path, checkpoint: Checkpoint, training: dict[str, Any], command: str, program: bool) -> None:
    """Fill an empty folder, and read it again."""
    task, rnn = checkpoint.task, checkpoint.model.rnn
    dictionary = task.source_dictionary
    first = dictionary.nspecial
    config = save(
        folder,
        rnn,
        getattr(task, "vocabulary", None) or LineVocabulary(),
        list(zip(dictionary.symbols[first:], dictionary.count[first:], strict=True)),
        {name: getattr(dictionary, name)() for name in SPECIAL},
        blocks_of(checkpoint.cfg.task),
    )
    if program:
        save_program(rnn, folder / PROGRAM)
    (folder / CARD).write_text(card(config, training, command, program), encoding="utf-8")
    require(
        Pretrained.load(folder).text.symbols == dictionary.symbols,
        f"the dictionary of {checkpoint.path} has symbols that no dict.txt can hold: make its data anew.",
    )


def blocks_of(task: Any) -> dict[str, Any]:
    """The block flags of a training as plain data."""
    mode = task.get("sample_break_mode")
    return {
        "tokens_per_sample": int(task.tokens_per_sample),
        "sample_break_mode": None if mode is None else str(getattr(mode, "value", mode)),
        "add_bos_token": bool(task.add_bos_token),
    }


if __name__ == "__main__":
    main()
