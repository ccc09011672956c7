"""An exported model: the RNN, and what a text is to it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairseq_smt.core.errors import require
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.data.subwords import SentencepieceVocabulary
from fairseq_smt.data.symbols import Vocabulary
from fairseq_smt.pretrained.folder import AGAIN, CONFIG, FILES, FORMAT, SPECIAL, Config, checksum, read_config
from fairseq_smt.pretrained.text import Text


@dataclass
class Pretrained:
    """A model as `fairseq-smt-export` writes it.

    Attributes:
        rnn: in evaluation mode, without gradients of weights.
        text: `encode(text)` gives ids, `decode(ids)` the text.
        config: sizes, special ids and block flags.
    """

    rnn: RecurrentLanguageModel
    text: Text
    config: Config

    @classmethod
    def load(cls, folder: str | Path) -> "Pretrained":
        """Read an exported folder.

        Raises:
            ConfigurationError: for a damaged or foreign one, naming the file.
        """
        folder = Path(folder)
        config = read_config(folder)
        path = folder / config.files["model"]["name"]
        rnn = RecurrentLanguageModel.load(path).eval().requires_grad_(False)
        require(sizes_of(rnn) == config.model, f"{folder / CONFIG} has other sizes than {path.name} beside it: {AGAIN}")
        text = Text.load(folder, config)
        require(
            len(text.symbols) == rnn.vocabulary,
            f"{folder / config.files['dictionary']['name']} has {len(text.symbols)} symbols, the model has "
            f"{rnn.vocabulary}: {AGAIN}",
        )
        return cls(rnn, text, config)

    @property
    def start(self) -> int:
        """What the RNN reads before a text: bos with --add-bos-token, else eos."""
        return self.config.text["bos" if self.config.blocks["add_bos_token"] else "eos"]


def sizes_of(rnn: RecurrentLanguageModel) -> dict[str, Any]:
    """V and the sizes of the RNN."""
    return {"vocabulary": rnn.vocabulary} | asdict(rnn.sizes)


def save(
    folder: Path,
    rnn: RecurrentLanguageModel,
    vocabulary: Vocabulary,
    dictionary: list[tuple[str, int]],
    special: dict[str, int],
    blocks: dict[str, Any],
) -> Config:
    """Fill an empty folder with a model.

    Args:
        vocabulary: how its texts become symbols.
        dictionary: symbols and counts, without the special ones.
        special: ids of `SPECIAL`.
        blocks: the block flags of its training.
    """
    rnn.save(folder / FILES["model"])
    lines = "".join(f"{symbol} {count}\n" for symbol, count in dictionary)
    (folder / FILES["dictionary"]).write_text(lines, encoding="utf-8")
    if isinstance(vocabulary, SentencepieceVocabulary):
        (folder / FILES["subwords"]).write_bytes(vocabulary.model)
    present = {part: name for part, name in FILES.items() if (folder / name).exists()}
    digests = {part: {"name": name, "sha256": checksum(folder / name)} for part, name in present.items()}
    text = {"kind": vocabulary.kind} | {name: special[name] for name in SPECIAL}
    config = Config(FORMAT, sizes_of(rnn), text, blocks, digests)
    config.save(folder)
    return config
