"""A script as anyone would write it for torchrun: DistributedDataParallel on the batches of the contract tests' job.

    python -m torch.distributed.run --nproc-per-node 2 bare_torchrun.py OUT JOB

JOB: the options as JSON, with `steps`. OUT: where rank 0 leaves the last weights (an .npz file). Nothing of lepton_nb
takes part but the rows, their order and the first weights.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
import torch.distributed as dist
import training_contract as contract
from torch import nn

from lepton_nb.training.sharding import epoch_order, shard


def main(out: str, job: str) -> None:
    """Train, and write the weights."""
    options = json.loads(job)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    features, target = (torch.from_numpy(values) for values in contract.rows())
    model = contract.builder("torch")()
    parallel = nn.parallel.DistributedDataParallel(model)
    if options["optimizer"] == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=options["learning_rate"], momentum=options["momentum"], fused=True
        )
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=options["learning_rate"], fused=True)
    size = options["batch_size"]
    for step in range(options["steps"]):
        epoch, number = divmod(step, -(-len(target) // size))
        batch = epoch_order(len(target), options["seed"], epoch)[number * size : (number + 1) * size]
        mine = batch[shard(len(batch), rank, ranks)]
        # DistributedDataParallel divides what it adds up by the number of ranks, and shares of a batch differ in size.
        loss = nn.functional.binary_cross_entropy_with_logits(
            parallel(features[mine]).squeeze(1), target[mine], reduction="sum"
        )
        optimizer.zero_grad()
        (loss * ranks / len(batch)).backward()
        optimizer.step()
    if rank == 0:
        np.savez(out, *[value.detach().numpy() for value in model.parameters()])
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
