"""Passes without gradient that may stand before passes with one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def pass_without_gradient() -> Iterator[None]:
    """`torch.no_grad` around a call of trained modules; also a decorator, called as one.

    Autocast keeps the half-precision copies of weights until its region ends. In older releases of torch (2.6, for one)
    it hands the copies made here, which have no graph, to later passes with gradient, whose weights then silently learn
    nothing. So the copies are dropped at the end.
    """
    with torch.no_grad():
        yield
    torch.clear_autocast_cache()
