"""Loaded by each worker process when it starts. Its owner ends it; the terminal and Jupyter do not."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from lepton_nb.cluster.children import METRIC as CHILDREN
from lepton_nb.cluster.children import Children
from lepton_nb.cluster.janitor import sign_in
from lepton_nb.cluster.scratch import SCRATCH_VARIABLE
from lepton_nb.cluster.traffic import METRIC, Traffic


def dask_setup(worker: Any) -> None:
    """Called by Dask in the new process."""
    sign_in(os.environ[SCRATCH_VARIABLE])
    worker.metrics[METRIC] = Traffic()
    worker.metrics[CHILDREN] = Children()
    # Jupyter interrupts a cell by a signal to the kernel's whole process group: without this, all workers would die.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
