"""What torch does in an update: FLOPs, kernels, its matrix products to be replayed, and what waits for the backward."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
MORE = {
    aten.addmm_: flop_registry[aten.addmm],
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}
"""What torch's counter does not know: a product in place, and attention's kernel on a CPU, by those of a GPU."""

PRODUCTS = {"mm", "addmm", "addmm_", "bmm", "baddbmm", "mv", "addmv", "dot"}


def is_product(operation: Any) -> bool:
    """Whether an operation is a matrix product or attention, forward or backward."""
    name = operation.overloadpacket.__name__
    return name in PRODUCTS or name.startswith("_scaled_dot_product")


class Flops(TorchDispatchMode):
    """Adds FLOPs up by torch's formulas.

    Its own `FlopCounterMode` also follows modules, and fails on their calls without gradient.
    """

    def __init__(self):
        super().__init__()
        self.number, self.formulas = 0, flop_registry | MORE

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        formula = self.formulas.get(function.overloadpacket)
        self.number += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
        return result


class Kernels(TorchDispatchMode):
    """Counts the operations that compute something: all but views, and but those that only take memory."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.number += not (function.is_view or name.startswith(("empty", "detach", "_unsafe_view", "new_empty")))
        return function(*args, **(kwargs or {}))


class Products(TorchDispatchMode):
    """Notes every matrix product and attention with copies of what it was given, strides kept."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple[Callable, tuple, dict]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if is_product(function):
            given = tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, (args, kwargs or {}))
            self.calls.append((function, *given))
        return function(*args, **(kwargs or {}))

    @torch.no_grad()
    def replay(self) -> None:
        """Exactly these calls again, in their order."""
        for function, args, kwargs in self.calls:
            function(*args, **kwargs)


def products_of(run: Callable[[], object]) -> Products:
    """The products of a call."""
    with Products() as products:
        run()
    return products


def held_by(run: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """Bytes that a forward pass leaves for the backward pass: of every storage once, and none of the parameters'."""
    own = {p.untyped_storage().data_ptr() for p in parameters}
    found: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        kept = run()  # as long as the graph lives, no address is used twice
    del kept
    return sum(found.values())
