"""Versions of torch and numpy that fairseq and this package work with."""

from importlib.metadata import version

from fairseq_smt.errors import require

OLDEST_TORCH = (2, 6)
NUMPY = 1
"""Major release; fairseq uses `np.compat`, which numpy 2 does not have."""


def numbers(name: str) -> tuple[int, ...]:
    """The first two numbers of an installed package's version."""
    return tuple(int(part) for part in version(name).split(".")[:2])


def check() -> None:
    """Raise `ConfigurationError` for a torch or numpy that cannot work."""
    oldest = ".".join(map(str, OLDEST_TORCH))
    require(
        numbers("torch") >= OLDEST_TORCH,
        f"torch {version('torch')} is too old, {oldest} is needed: run `pip install 'torch>={oldest}'`.",
    )
    require(
        numbers("numpy")[0] == NUMPY,
        f"fairseq does not work with numpy {version('numpy')}: run `pip install 'numpy<{NUMPY + 1}'`.",
    )
