"""`--ddp-backend pytorch_ddp` on CPU."""

from fairseq.models import distributed_fairseq_model
from torch.nn.parallel import DistributedDataParallel

from fairseq_smt.replacing import replace


def data_parallel(module, device_ids=None, output_device=None, **options) -> DistributedDataParallel:
    """torch's `DistributedDataParallel`, which takes no device numbers for a model on CPU."""
    if next(module.parameters()).device.type == "cpu":
        device_ids = output_device = None
    return DistributedDataParallel(module, device_ids=device_ids, output_device=output_device, **options)


replace(distributed_fairseq_model, "DistributedDataParallel", data_parallel)
