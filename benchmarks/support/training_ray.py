"""Ray's TorchTrainer, in an environment of its own (.venv-peers): one job for each line on stdin.

    python training_ray.py FOLDER

Ray's cluster is started first and goes on; each job's seconds are told as a line of JSON on stdout.
"""

from __future__ import annotations

import json
import sys
import time


def say(**facts: float) -> None:
    """One line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def job() -> None:
    """Two ranks that have met add up once."""
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.ones(1))


def main() -> None:
    """See above."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    began_s = time.monotonic()
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[1]
    )
    say(ready_s=time.monotonic() - began_s)
    for _ in sys.stdin:
        began_s = time.monotonic()
        scaling = ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5})
        TorchTrainer(job, scaling_config=scaling, run_config=RunConfig(storage_path=sys.argv[1])).fit()
        say(taken_s=time.monotonic() - began_s)
    ray.shutdown()


if __name__ == "__main__":
    main()
