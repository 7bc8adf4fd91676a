"""The kernel of a report: this very Python, its own session, and nothing of it left behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import run_sync

from lepton_nb.environment import MODE_VARIABLE
from lepton_nb.reports import facts, guard, witness
from lepton_nb.reports.channel import Client
from lepton_nb.reports.record import RECORD_VARIABLE

# Half of it passes before SIGTERM, the rest before SIGKILL. ipykernel ends children one by one, for longer than that,
# and a cluster that is still open then is better ended by its own janitor.
SHUTDOWN_S = 4.0


class ThisPython(KernelSpecManager):
    """Knows one kernel, "python3", which is the Python that runs this; one of that name elsewhere does not count."""

    def _kernel_dirs_default(self) -> list[str]:
        return []


class ReportKernel(AsyncKernelManager):
    """A kernel of this Python, or the one that Jupyter knows by `name`.

    What its processes print past Jupyter's own channels goes to the file `log`, None for where ours goes. What cells
    record goes to the file `records`, if there is one.
    """

    def __init__(
        self, folder: Path, log: Path | None, records: Path | None, mark: guard.Mark, *, name: str | None = None
    ) -> None:
        super().__init__(
            kernel_name=name or "python3",
            kernel_spec_manager=ThisPython() if name is None else KernelSpecManager(),
            transport_encryption="auto",
            client_factory=Client,
        )
        self.shutdown_wait_time = SHUTDOWN_S
        self._folder, self._log, self._records, self._mark = folder, log, records, mark
        self._clients: list[Any] = []

    def start(self) -> None:
        """Start the process; its working folder is the notebook's own, as in JupyterLab."""
        environment = {key: value for key, value in os.environ.items() if key not in ("JPY_SESSION_NAME",)}
        environment |= {MODE_VARIABLE: "report", self._mark.variable: self._mark.folder}
        if self._records is not None:
            environment[RECORD_VARIABLE] = str(self._records)
            environment[witness.VARIABLE] = str(facts.beside(self._records))
        with contextlib.nullcontext() if self._log is None else open(self._log, "ab") as log:
            run_sync(self.start_kernel)(
                env=environment,
                cwd=str(self._folder),
                stdout=log,
                stderr=log,
                extra_arguments=self._arguments(),
            )

    def _arguments(self) -> list[str]:
        if not self.ipykernel:
            return []
        return ["--HistoryManager.hist_file=:memory:", *(() if self._records is None else witness.arguments())]

    def client(self, **options: Any) -> Any:
        """As the base class, and remembered, so that `end` can close it."""
        client = super().client(**options)
        self._clients.append(client)
        return client

    def end(self) -> None:
        """End the kernel, first politely, and then every process that came from it and is still there."""
        family: list[psutil.Process] = []
        try:
            if isinstance(self.provisioner, LocalProvisioner) and self.has_kernel:
                family = psutil.Process(self.provisioner.pid).children(recursive=True)
        except psutil.Error:
            pass
        try:
            if self.has_kernel:
                run_sync(self.shutdown_kernel)()
        finally:
            run_sync(self.cleanup_resources)()
            for client in self._clients:
                client.stop_channels()
            guard.end(family, self._mark)
