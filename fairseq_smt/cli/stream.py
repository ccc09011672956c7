"""fairseq-smt-stream: text in, text out, symbol by symbol, in constant memory, of an exported model.

    fairseq-smt-stream MODEL --prompt "To be"           # 1000 symbols; --length 0: until Ctrl-C
    fairseq-smt-stream MODEL < prompt.txt               # a prompt of any length
    fairseq-smt-stream MODEL --score < book.txt         # bits per character, as the text comes
    fairseq-smt-stream MODEL --state FILE               # goes on where the last command with FILE ended

What is printed follows the prompt, which is not printed. Every symbol stands for some text: none ends it. A prompt is
taken as it is, the newline at its end too.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from fairseq_smt.cli.interrupts import Interrupts
from fairseq_smt.errors import require
from fairseq_smt.terminal import command, forget_output

if TYPE_CHECKING:
    from fairseq_smt.pretrained import Pretrained
    from fairseq_smt.pretrained.stream import Stream
    from fairseq_smt.pretrained.text import Characters, Text

# torch takes seconds to import: functions do that, so that --help and a Ctrl-C do not wait for it

PIECE = 5000
"""Bytes of input at a time."""
EVERY = 10_000
"""Symbols between two lines of --score."""
UNKNOWN = 1000
"""Symbols without an id that are told, at most about."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell gives it."""


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    interrupts = Interrupts()
    with command():
        args = parser().parse_args(argv)
        try:
            with interrupts.noted():
                run(args, interrupts)
        except BrokenPipeError:
            forget_output()
        except KeyboardInterrupt:
            pass
    raise SystemExit(INTERRUPTED if interrupts.arrived else 0)


def run(args: argparse.Namespace, interrupts: Interrupts) -> None:
    """Load the model, read, write or score, and save the state.

    Raises:
        ConfigurationError: for whatever the user can put right.
        BrokenPipeError: when nobody reads what is written.
        KeyboardInterrupt: for a Ctrl-C before there is anything to save.
    """
    require(args.length >= 0, f"--length must not be negative, got {args.length}.")
    with interrupts.waiting():
        import torch

        from fairseq_smt.pretrained import Pretrained

        model = Pretrained.load(args.model)
    with locked(args.state), torch.inference_mode():
        stream, characters = begin(args, model)
        incoming = Incoming(args.prompt, model.text, interrupts)
        try:
            if args.score:
                score(incoming, stream)
            else:
                for _, ids in incoming:
                    stream.read(ids)
                write(args.length, stream, model.text, characters, interrupts)
        except BrokenPipeError:
            end(args.state, model, stream, characters)
            raise
        end(args.state, model, stream, characters)


@contextmanager
def locked(state: str | None) -> Iterator[None]:
    """Hold the file of a state, so that no other stream saves its own there.

    Raises:
        ConfigurationError: when another one does, or the folder cannot be written.
    """
    if state is None:
        yield
        return
    from fairseq_smt.files import told
    from fairseq_smt.locks import Lock

    lock = Lock(f"{state}.lock", f"streams with --state {state}: wait for it, or name another file")
    with told(f"--state {state}"):
        lock.take()
    try:
        yield
    finally:
        lock.release()


def begin(args: argparse.Namespace, model: "Pretrained") -> tuple["Stream", "Characters"]:
    """The model at the beginning of a text, or where the state says, with the character that is not whole there."""
    import torch

    from fairseq_smt.pretrained.state import State
    from fairseq_smt.pretrained.stream import Stream
    from fairseq_smt.pretrained.text import Characters

    sizes, state, generator = model.rnn.sizes, None, torch.Generator()
    if args.state and os.path.lexists(args.state):
        state = State.load(args.state, model.config.fingerprint, (sizes.memory_tokens, sizes.memory_width))
    if args.seed is not None:
        generator.manual_seed(args.seed)
    elif state is not None:
        generator.set_state(state.random)
    else:
        generator.seed()
    sampling = {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p}
    stream = Stream(model, state and state.memory, generator=generator, **sampling)
    return stream, Characters(state.unwritten if state else b"")


def end(path: str | None, model: "Pretrained", stream: "Stream", characters: "Characters") -> None:
    """Save the state, where one is asked for."""
    if path is not None:
        from fairseq_smt.pretrained.state import State

        state = State(stream.memory, characters.held, stream.generator.get_state())
        state.save(path, model.config.fingerprint)


class Incoming:
    """The text of --prompt, or else of stdin unless it is a terminal: pieces and their ids; Ctrl-C ends them.

    Raises:
        ConfigurationError: for what is not UTF-8.
    """

    def __init__(self, prompt: str | None, text: "Text", interrupts: Interrupts):
        self.prompt, self.text, self.interrupts = prompt, text, interrupts
        self.unknown: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str | bytes, list[int]]]:
        from fairseq_smt.pretrained.text import Pieces

        pieces = Pieces(self.text.vocabulary, "stdin" if self.prompt is None else "--prompt")
        for data in self._data():
            if ready := pieces.feed(data):
                yield ready, self._ids(ready)
        if not self.interrupts.arrived and (ready := pieces.feed(b"", last=True)):
            yield ready, self._ids(ready)

    def _data(self) -> Iterator[bytes]:
        if self.prompt is not None:
            yield os.fsencode(self.prompt)
            return
        while not os.isatty(0):
            try:
                with self.interrupts.waiting():
                    data = os.read(0, PIECE)
            except KeyboardInterrupt:
                return
            if not data:
                return
            yield data

    def _ids(self, ready: str | bytes) -> list[int]:
        """Ids of a text; symbols that the dictionary has not are told, each once."""
        ids = self.text.encode(ready)
        if self.text.unknown in ids:
            new = {s for s in self.text.vocabulary.encode(ready) if s not in self.text.ids} - self.unknown
            if new and len(self.unknown) < UNKNOWN:
                self.unknown |= new
                shown = " ".join(sorted(new)[:20])
                print(f"not in the dictionary and read as <unk>: {shown}", file=sys.stderr, flush=True)
        return ids


def write(length: int, stream: "Stream", text: "Text", characters: "Characters", interrupts: Interrupts) -> None:
    """Write symbols as they are drawn; a character appears when it is whole."""
    output = sys.stdout.buffer
    for _ in range(length) if length else count():
        if interrupts.arrived:
            break
        if data := characters.feed(text.bytes[stream.next()]):
            output.write(data)
            output.flush()
    if interrupts.arrived or sys.stdout.isatty():
        output.write(b"\n")
        output.flush()


def score(incoming: Incoming, stream: "Stream") -> None:
    """Read a text; say on stderr what it costs as it comes, and at its end on stdout.

    Raises:
        ConfigurationError: when there is no text.
    """
    from fairseq_smt.pretrained.cost import Cost

    total = recent = Cost()
    for ready, ids in incoming:
        part = Cost.of(stream.read(ids), len(ids), ready)
        total, recent = total + part, recent + part
        if recent.symbols >= EVERY:
            print(f"{total}; the last {recent.symbols:,}: {recent.per_character:.4f}", file=sys.stderr, flush=True)
            recent = Cost()
    interrupted = incoming.interrupts.arrived
    require(total.symbols > 0 or interrupted, "--score has read no text: pipe one in, or give it by --prompt.")
    if total.symbols:
        print(total, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", metavar="MODEL", help="folder written by fairseq-smt-export")
    p.add_argument("--prompt", metavar="TEXT", help="text to begin with; default: stdin, unless that is a terminal")
    p.add_argument("--score", action="store_true", help="write no text, but what the text read costs")
    p.add_argument("--state", metavar="FILE", help="memory to go on from, if it exists, and to save at the end")
    writing = p.add_argument_group("writing")
    writing.add_argument("--length", type=int, default=1000, metavar="N", help="symbols; default 1000, 0: no end")
    writing.add_argument("--temperature", type=float, default=1.0, help="divides the logits; 0: the likeliest symbol")
    writing.add_argument("--top-k", type=int, default=0, help="only the K likeliest symbols; default 0: all")
    writing.add_argument("--top-p", type=float, default=1.0, help="only the likeliest symbols that reach P; default 1")
    writing.add_argument("--seed", type=int, help="of the draws; default: another one every time")
    return p


if __name__ == "__main__":
    main()
