"""What torch does under the hood of a test: every operation, those of backward passes included."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _tensors(*values):
    return [x for x in tree_leaves(values) if isinstance(x, torch.Tensor)]


class Operations(TorchDispatchMode):
    """A context that notes the name of every operation, and the entries of every tensor for which it took memory."""

    def __init__(self):
        super().__init__()
        self.names, self.sizes = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in _tensors(args, kwargs)}
        self.names.append(function.overloadpacket.__name__)
        self.sizes += [x.numel() for x in _tensors(result) if x.untyped_storage().data_ptr() not in given]
        return result
