"""The memory of a stream as a file, so that another process goes on where one ended."""

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.files import told, write_whole

KEY = "fairseq_smt_stream_of"


@dataclass
class State:
    """Where a stream ended.

    Attributes:
        memory: m_t, (1, K, d).
        unwritten: bytes of a character that is not whole.
        random: state of the source of randomness.
    """

    memory: Tensor
    unwritten: bytes
    random: Tensor

    def save(self, path: str | Path, fingerprint: str) -> None:
        """Write it as one file, whole or not at all.

        Raises:
            ConfigurationError: when the system refuses.
        """
        unwritten = torch.tensor(list(self.unwritten), dtype=torch.uint8)
        tensors = {"memory": self.memory.clone(), "unwritten": unwritten, "random": self.random}
        with told(f"--state {path}"):
            write_whole(path, safetensors.torch.save(tensors, metadata={KEY: fingerprint}))

    @classmethod
    def load(cls, path: str | Path, fingerprint: str, shape: tuple[int, int]) -> "State":
        """Read what `save` wrote.

        Raises:
            ConfigurationError: for a file that is something else, damaged, or of another model.
        """
        another = "name another file by --state."
        try:
            with safe_open(str(path), framework="pt") as file:
                owner = (file.metadata() or {})[KEY]
                tensors = {name: file.get_tensor(name) for name in ("memory", "unwritten", "random")}
            right = tensors["memory"].shape == (1, *shape) and bool(tensors["memory"].isfinite().all())
            torch.Generator().set_state(tensors["random"])
            unwritten = bytes(tensors["unwritten"].tolist())
        except Exception as error:
            raise ConfigurationError(
                f"{path} is no whole file of fairseq-smt-stream ({error}): remove it, or {another}"
            ) from error
        require(owner == fingerprint, f"{path} holds the memory of another model: {another}")
        require(right, f"{path} holds a damaged memory: remove it, or {another}")
        return cls(tensors["memory"], unwritten, tensors["random"])
