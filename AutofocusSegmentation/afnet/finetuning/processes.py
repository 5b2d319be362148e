"""One process, or several that share every batch (`torchrun`): sums, gradients and decisions over all of them.

PyTorch's own distributed package, gloo on CPUs and NCCL on GPUs. Every process sees the whole result, so that all
take the same decisions; process 0 alone speaks and writes. Several machines need a common output folder.
"""

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
from torch import distributed

from ..errors import RequestError

PATIENCE = timedelta(hours=24)
"""How long a process waits for the others: process 0 prepares cases and scores alone."""


class Processes:
    """The processes of this run; alone unless torchrun's variables (WORLD_SIZE, RANK) say otherwise."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Meet the others; from then on `self.device` is this process's own of the kind of `device`."""
        self.device = device
        if self.count > 1:
            if device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
                torch.cuda.set_device(self.device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)

    def meet(self) -> None:
        """Wait for the others: one that leaves while another still listens to it may bring that one down."""
        if self.count > 1:
            distributed.barrier()

    def leave(self) -> None:
        if self.count > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def check_batch(self, batch: int) -> None:
        if batch % self.count:
            raise RequestError(f"{self.count} processes cannot share a batch of {batch}; give --batch a multiple.")

    def mine(self, batch: int) -> range:
        """Which of a batch's samples this process computes."""
        return range(self.rank, batch, self.count)

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of `tensor` over the processes. The gradient flows to this process's part alone, so that the sum of
        all processes' gradients is that of one process with the whole batch."""
        if self.count == 1:
            return tensor
        everyone = tensor.detach().clone()
        distributed.all_reduce(everyone)
        return tensor + (everyone - tensor.detach())

    def join_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
            gradient.copy_(part.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        votes = torch.tensor([float(flag)], device=self.device)
        distributed.all_reduce(votes)
        return bool(votes.item() > 0)

    def tell(self, value):
        """What process 0 holds as `value`, in every process (plain data)."""
        if self.count == 1:
            return value
        box = [value if self.first else None]
        distributed.broadcast_object_list(box, device=self.device if self.device.type == "cuda" else None)
        return box[0]
