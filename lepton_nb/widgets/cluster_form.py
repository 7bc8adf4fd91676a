"""What a cluster's panel asks for: fields with the defaults and limits of `Cluster`."""

from __future__ import annotations

import inspect

from lepton_nb.cluster.probe import probe_gpus
from lepton_nb.cluster.session import Cluster
from lepton_nb.cluster.spec import MOST_THREADS
from lepton_nb.widgets.form import Field

MOST_WORKERS = 1024


def count(name: str, label: str, default: int, help: str) -> Field:
    """A number of workers."""
    return Field(name=name, label=label, kind=int, default=default, minimum=1, maximum=MOST_WORKERS, help=help)


def start_fields() -> list[Field]:
    """What a cluster is started with."""
    defaults = {name: one.default for name, one in inspect.signature(Cluster).parameters.items()}
    found = len(probe_gpus()[0])
    gpus = [("as many as there are", "auto"), ("none", 0), *((str(count), count) for count in range(1, found + 1))]
    return [
        Field(name="workers", label="Workers", kind=int, minimum=1, maximum=MOST_WORKERS, optional=True,
              default=defaults["workers"], help="Worker processes; left empty: one a GPU, or 2 on the CPU"),
        Field(name="threads", label="Threads each", kind=int, minimum=1, maximum=MOST_THREADS,
              default=defaults["threads"], help="Threads of each worker"),
        Field(name="memory", label="Memory each", default=defaults["memory"],
              help="Limit of each worker, such as 2GB or 512MiB"),
        Field(name="gpus", label="GPUs", choices=gpus, default=defaults["gpus"], help="One GPU serves one worker"),
        Field(name="secure", label="Encrypt traffic", kind=bool, default=defaults["secure"],
              help="TLS between the notebook, the scheduler and the workers"),
    ]  # fmt: skip
