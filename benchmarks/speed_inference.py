"""Generation and scoring by fairseq's commands' own code, in this process, beside fairseq's language models."""

import argparse
import logging
from argparse import Namespace
from collections.abc import Callable
from typing import NamedTuple

import fairseq  # noqa: F401
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.dataclass.configs import GenerationConfig
from fairseq.models import lstm_lm, transformer_lm
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq_cli.eval_lm import eval_lm
from torch import nn

import fairseq_smt
from cost import Sizes
from fairseq_smt.core.configs import RnnConfig
from report import table
from timing import medians, rounds, seconds

fairseq_smt.register()
from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig  # noqa: E402
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig, SmtLanguageModelingTask  # noqa: E402

CORE = "smt_lm, the core alone"
NAMES = ("smt_lm", "lstm_lm", "transformer_lm")
PROMPT = 8
LONGEST = 1 << 16


def dictionary_of(vocabulary: int) -> Dictionary:
    """A dictionary of V symbols, fairseq's four included."""
    dictionary = Dictionary()
    for i in range(vocabulary - dictionary.nspecial):
        dictionary.add_symbol(f"s{i}")
    return dictionary


def task_of(name: str, dictionary: Dictionary) -> LanguageModelingTask:
    """Our task for our model, fairseq's for fairseq's."""
    flags = dict(data=None, tokens_per_sample=LONGEST, add_bos_token=True)
    if name == "smt_lm":
        return SmtLanguageModelingTask(SmtLanguageModelingConfig(**flags, max_update=1), dictionary)
    return LanguageModelingTask(LanguageModelingConfig(**flags), dictionary)


def model_of(name: str, task: LanguageModelingTask, rnn: RnnConfig) -> nn.Module:
    """A model of width K·d with fresh weights: one layer of an LSTM, two of a Transformer."""
    torch.manual_seed(0)
    if name == "smt_lm":
        return SmtLanguageModel(SmtLanguageModelConfig(memory_head="none", **vars(rnn)), task.dictionary)
    width = rnn.memory_tokens * rnn.memory_width
    module, model, sizes = {
        "lstm_lm": (lstm_lm.base_architecture, lstm_lm.LSTMLanguageModel, dict(decoder_out_embed_dim=width)),
        "transformer_lm": (
            transformer_lm.base_lm_architecture,
            transformer_lm.TransformerLanguageModel,
            dict(decoder_layers=2, decoder_ffn_embed_dim=4 * width, decoder_attention_heads=4),
        ),
    }[name]
    defaults = vars(transformer_lm.TransformerLanguageModelConfig()) if name == "transformer_lm" else {}
    common = dict(decoder_embed_dim=width, tokens_per_sample=LONGEST, max_target_positions=LONGEST)
    absent = dict(decoder_input_dim=width, decoder_output_dim=width, tpu=False, criterion="cross_entropy")
    args = Namespace(**defaults | common | absent | sizes)
    module(args)
    return model.build_model(args, task)


class Bench:
    """Three models of one width, and how they score and generate."""

    def __init__(self, sizes: Sizes, device: torch.device):
        self.device, self.dictionary = device, dictionary_of(sizes.vocabulary)
        self.tasks = {name: task_of(name, self.dictionary) for name in NAMES}
        self.models = {name: model_of(name, task, sizes.rnn).to(device).eval() for name, task in self.tasks.items()}
        self.random = torch.Generator().manual_seed(1)

    def tokens(self, rows: int, length: int) -> torch.Tensor:
        return torch.randint(self.dictionary.nspecial, len(self.dictionary), (rows, length), generator=self.random)

    def generation(self, rows: int, length: int, beam: int = 1) -> dict[str, Callable[[], object]]:
        """Continuations by `length` tokens of the highest probability that is found; no model may end before."""
        prompts = self.tokens(rows, PROMPT)
        runs: dict[str, Callable[[], object]] = {}
        for name, task in self.tasks.items():
            total = PROMPT + length
            model = self.models[name]
            generator = task.build_generator([model], GenerationConfig(beam=beam, max_len_b=total, min_len=total))
            dataset = task.build_dataset_for_inference(list(prompts), [PROMPT] * rows)
            sample = fairseq.utils.move_to_cuda(dataset.collater([dataset[i] for i in range(rows)]), self.device)
            runs[name] = lambda t=task, g=generator, m=model, s=sample: t.inference_step(g, [m], s)
        rnn, start = self.models["smt_lm"].rnn, F.pad(prompts, (1, 0), value=self.dictionary.bos()).to(self.device)
        runs[CORE] = lambda: rnn.generate(start, length, temperature=0)
        return runs

    def scoring(self, rows: int, length: int) -> dict[str, Callable[[], object]]:
        """fairseq-eval-lm's loop over one batch, and the core's forward pass with the same scores."""
        tokens = self.tokens(rows, length + 1).to(self.device)
        inputs, target = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        net_input = {"src_tokens": inputs, "src_lengths": torch.full((rows,), length, device=self.device)}
        sample = {"id": torch.arange(rows), "net_input": net_input, "target": target, "ntokens": rows * length}
        rnn = self.models["smt_lm"].rnn

        @torch.no_grad()
        def core() -> torch.Tensor:
            return F.cross_entropy(rnn(inputs)[0].flatten(0, 1), target.flatten())

        runs = {
            name: lambda m=model: eval_lm([m], self.dictionary, [dict(sample)], device=self.device)
            for name, model in self.models.items()
        }
        return {**runs, CORE: core}


class Column(NamedTuple):
    """What all models are timed at."""

    what: str
    rows: int
    length: int
    beam: int = 1

    def __str__(self) -> str:
        rows = f", {self.rows} rows" if self.what == "generation" and self.rows > 1 else ""
        return f"{self.length:,} token{'s' * (self.length > 1)}{rows}{f', {self.beam} beams' * (self.beam > 1)}"

    def runs(self, bench: Bench) -> dict[str, Callable[[], object]]:
        """Name → one call; the core has no search by several beams."""
        if self.what == "scoring":
            return bench.scoring(self.rows, self.length)
        runs = bench.generation(self.rows, self.length, self.beam)
        return {name: run for name, run in runs.items() if self.beam == 1 or name != CORE}


def part(args: argparse.Namespace, sizes: Sizes) -> tuple[list[str], list[str]]:
    """The summary's rows, and the section."""
    logging.getLogger("fairseq_cli.eval_lm").setLevel(logging.WARNING)
    device, shortest = torch.device(args.device), min(args.inference_lengths)
    bench = Bench(sizes, device)
    columns = [Column("generation", 1, length) for length in (1, *args.inference_lengths)]
    columns += [Column("generation", args.prompts, shortest), Column("generation", 1, shortest, beam=4)]
    columns += [Column("scoring", max(1, args.tokens // length), length) for length in args.inference_lengths]
    found = {}
    for column in columns:
        taken = medians(rounds(column.runs(bench), device, args.rounds, 0, f"{column.what}, {column}"))
        found |= {(name, column): 1000 * time / column.length for name, time in taken.items()}
    longest = bench.generation(1, args.longest)["smt_lm"]
    flat = 1000 * seconds(longest, device, 0) / args.longest
    own = found["smt_lm", Column("generation", 1, shortest)]
    summary = [
        f"generation, smt_lm, 1 row: {own:.2f} ms a token over {shortest} tokens, {flat:.2f} over {args.longest:,}"
    ]
    lines = [
        "## Generation and scoring",
        "",
        f"Fresh weights, {sizes.memory} wide, V = {sizes.vocabulary}; `lstm_lm` has one layer, `transformer_lm` two.",
    ]
    for what, how in (
        ("generation", f"Greedy, after prompts of {PROMPT} tokens, by the task's generator. Milliseconds per step."),
        ("scoring", f"{args.tokens:,} tokens (or one block) at once, by fairseq-eval-lm's own loop. Milliseconds per "
         "position of a block."),
    ):  # fmt: skip
        mine = [column for column in columns if column.what == what]
        for other in (CORE, "lstm_lm", "transformer_lm"):
            pairs = [(found["smt_lm", c] / found[other, c], c) for c in mine if (other, c) in found]
            ratios = ", ".join(f"{ratio:.2f} at {column}" for ratio, column in pairs)
            summary.append(f"{what}, time of smt_lm over {other}: {ratios}")
        cells = [[f"{found[name, c]:.3f}" if (name, c) in found else "" for c in mine] for name in (CORE, *NAMES)]
        rows = [[name, *row] for name, row in zip((CORE, *NAMES), cells, strict=True)]
        lines += ["", f"### {what.capitalize()}", "", how, "", *table(["model", *map(str, mine)], rows)]
    return summary, lines
