"""Optimizers that do not load torch's compiler, which costs every command a second or more of a processor.

torch keeps some methods of its optimizers out of compiled code (`torch._disable_dynamo`), and loads the compiler to
learn how when the first of them is called. Nothing is compiled before somebody has loaded the compiler; until then
the methods are called as they are.
"""

import sys
from collections.abc import Callable
from functools import wraps

from torch.optim import Optimizer

MARK = "__dynamo_disable"
"""Where torch keeps the method that it calls in a method's place."""


def without_compiler(method: Callable) -> None:
    """Let a method be called as it is for as long as the compiler is not loaded."""
    plain = getattr(method, "__wrapped__", None)
    if plain is None or hasattr(plain, MARK):
        return

    @wraps(plain)
    def call(*args, **kwargs):
        if "torch._dynamo" not in sys.modules:
            return plain(*args, **kwargs)
        if getattr(plain, MARK, None) is call:
            delattr(plain, MARK)  # torch now puts its own there
        return method(*args, **kwargs)

    setattr(plain, MARK, call)


for _method in (Optimizer.add_param_group, Optimizer.state_dict, Optimizer.load_state_dict, Optimizer.zero_grad):
    without_compiler(_method)
