"""What an RNN goes on with: texts after a prompt, images whose upper rows are shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import utils
from torch import Tensor

from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.data.pixels import DESCRIPTION, PixelFormat
from fairseq_smt.pretrained.text import LineVocabulary, Text


@dataclass(frozen=True)
class Continuation:
    """A prompt, and what an RNN goes on with."""

    prompt: str
    text: str


def text_of(task: Any) -> Text:
    """What a text is to a task of ours; symbols stand between spaces where DATA does not say."""
    dictionary = task.source_dictionary
    return Text(getattr(task, "vocabulary", None) or LineVocabulary(), dictionary.symbols, dictionary.unk())


def first_tokens(task: Any, of_image: bool = False) -> list[int]:
    """What the RNN reads before a text: bos with --add-bos-token, else eos; before an image, which has both, eos."""
    dictionary = task.source_dictionary
    bos = [dictionary.bos()] * bool(task.args.add_bos_token)
    return [*bos, dictionary.eos()] if of_image or not bos else bos


def continue_texts(
    rnn: RecurrentLanguageModel, text: Text, prompts: Tensor, length: int, seed: int = 1, **sampling: float
) -> list[Continuation]:
    """Continue prompts (B, T) by `length` symbols that stand for some text.

    Args:
        sampling: temperature, top_k and top_p, as of `RecurrentLanguageModel.generate`.
    """
    allowed = ~torch.tensor(text.silent, device=prompts.device)
    generator = torch.Generator(prompts.device).manual_seed(seed)
    rest = rnn.generate(prompts, length, allowed=allowed, generator=generator, **sampling)
    pairs = zip(prompts.tolist(), rest.tolist(), strict=True)
    return [Continuation(text.decode(prompt), text.decode(new)) for prompt, new in pairs]


def pixel_format(data: str | None, length: int) -> PixelFormat | None:
    """The form of DATA's images, where a block of `length` is one; None for data of another kind.

    Raises:
        ConfigurationError: for a damaged description.
    """
    folder = Path(utils.split_paths(data)[0]) if data else None
    if folder is None or not (folder / DESCRIPTION).is_file():
        return None
    form = PixelFormat.load(folder)
    return form if form.pixels == length else None


def grey_levels(tokens: Tensor, form: PixelFormat, first: int) -> np.ndarray:
    """Tokens (N, H·W) as grey values in [0, 1], (N, H, W); `first` is the token of black."""
    levels = (tokens - first).double() / (form.levels - 1)
    return levels.view(-1, form.height, form.width).cpu().numpy()


def complete_images(
    rnn: RecurrentLanguageModel,
    task: Any,
    images: Tensor,
    shown: int,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 1,
) -> list[Tensor]:
    """Complete images of which the first `shown` pixels are given.

    Args:
        images: tokens (N, H·W).
        samples: completions of each.
        temperature: of the sampling.

    Returns:
        `samples` times the images, (N, H·W).
    """
    start = torch.tensor(first_tokens(task, of_image=True), device=images.device).expand(len(images), -1)
    prompt = torch.cat((start, images[:, :shown]), dim=1)
    allowed = torch.arange(len(task.source_dictionary), device=images.device) >= black(task)
    generator = torch.Generator(images.device).manual_seed(seed)
    drawn = []
    for _ in range(samples):
        rest = rnn.generate(
            prompt, images.shape[1] - shown, temperature=temperature, allowed=allowed, generator=generator
        )
        drawn.append(torch.cat((images[:, :shown], rest), dim=1))
    return drawn


def black(task: Any) -> int:
    """The token of black; those of the other grey levels follow."""
    return task.source_dictionary.index("0")


def completions(
    rnns: dict[str, tuple[RecurrentLanguageModel, Any]],
    images: Tensor,
    form: PixelFormat,
    shown_rows: int,
    **flags: Any,
) -> dict[str, np.ndarray]:
    """Rows of a grid of images: what is shown, the truth, and every RNN's completion, (N, H, W) by title.

    Args:
        rnns: RNN and task by name.
        images: tokens (N, H·W).
        flags: of `complete_images`.
    """
    first = black(next(iter(rnns.values()))[1])
    truth = grey_levels(images, form, first)
    rows = {"shown": np.where(np.arange(form.height)[:, None] < shown_rows, truth, np.nan), "truth": truth}
    for name, (rnn, task) in rnns.items():
        drawn = complete_images(rnn, task, images, shown_rows * form.width, **flags)
        single = len(drawn) == 1
        rows |= {name if single else f"{name} {i}": grey_levels(x, form, first) for i, x in enumerate(drawn, 1)}
    return rows
