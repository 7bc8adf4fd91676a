"""`Cluster`: a Dask cluster on this machine that is encrypted, stays on loopback, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from lepton_nb import announce
from lepton_nb.background import BackgroundRun, Control
from lepton_nb.cluster import cpu, cuda
from lepton_nb.cluster.choose import Backend, choose, cuda_missing
from lepton_nb.cluster.logs import LINES, as_text
from lepton_nb.cluster.ports import check_free
from lepton_nb.cluster.probe import Hardware, gigabytes, hardware
from lepton_nb.cluster.scratch import Scratch
from lepton_nb.cluster.snapshot import ClusterSnapshot, TaskCounts, WorkerLoss, by_name, look, workers_of
from lepton_nb.cluster.spec import ClusterSpec
from lepton_nb.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Adaptive, Client

_OPENERS = {"cpu": cpu.open_cluster, "cuda": cuda.open_cluster}


class Cluster:
    """Scheduler and workers on this machine, ready when the constructor returns. A context manager.

    workers: number of worker processes; by default one a GPU, or 2 on the CPU.
    threads: threads of each worker.
    memory: limit of each worker, such as "2GB" or a number of bytes.
    gpus: "auto" uses GPUs where there is one for each worker and the CPU otherwise (`reason` tells which and
        why); 0 asks for the CPU; a number that is not there raises ClusterError.
    secure: encrypt and authenticate all traffic between client, scheduler and workers with TLS and a
        certificate made for this cluster alone.
    host: the address that scheduler and workers listen on; loopback unless asked otherwise.
    port, dashboard_port: of the scheduler and its dashboard; 0 takes any free one.

    Raises ClusterError for a value that cannot be, for more memory than the machine has, for a port in use,
    and when workers do not start.
    """

    def __init__(
        self,
        workers: int | None = None,
        threads: int = 1,
        memory: str | int = "2GB",
        gpus: int | Literal["auto"] = "auto",
        secure: bool = True,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        dashboard_port: int = 0,
    ) -> None:
        _check_not_importing_main()
        spec = ClusterSpec.parse(
            workers=workers,
            threads=threads,
            memory=memory,
            gpus=gpus,
            secure=secure,
            host=host,
            port=port,
            dashboard_port=dashboard_port,
        )
        self.hardware: Hardware = hardware()
        needs_cuda = bool(self.hardware.gpus) and spec.gpus != 0
        choice = choose(spec, self.hardware, cuda_missing() if needs_cuda else None)
        spec.check_fits(choice.workers, self.hardware)
        check_free(spec.host, spec.port, "port")
        check_free("127.0.0.1", spec.dashboard_port, "dashboard_port")
        self.backend: Backend = choice.backend
        self.reason: str = choice.reason
        self._spec = spec
        self._choice = choice
        self._adaptive: Adaptive | None = None
        self._losses: list[WorkerLoss] = []
        # In a thread of its own: Ctrl-C then ends the wait, not a start half done, which is undone when it is over.
        BackgroundRun(self._start, name="cluster-start").start().wait()
        announce.announce(
            "cluster",
            backend=self.backend,
            workers=choice.workers,
            threads=spec.threads,
            memory_bytes=spec.memory_bytes,
            gpus=len(choice.gpus),
        )

    def _start(self, control: Control) -> None:
        from distributed import Client, Security

        security = Security.temporary() if self._spec.secure else None
        with contextlib.ExitStack() as undo:
            self._scratch = Scratch()
            undo.callback(self._scratch.close)
            try:
                self._cluster = _OPENERS[self.backend](
                    self._spec, self._choice, self._scratch.path, security, self._losses.append
                )
                undo.callback(self._cluster.close)
                self._client = Client(self._cluster, security=security, set_as_default=False)
                undo.callback(self._client.close)
            except Exception as error:
                advice = _script_advice() if "Nanny" in str(error) else ""
                raise ClusterError(f"the cluster did not start: {error}{advice}") from error
            if not control.stopping:
                undo.pop_all()

    @property
    def client(self) -> Client:
        """The Dask client of this cluster. Raises ClusterError once the cluster is closed."""
        self._require_open()
        return self._client

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._client.status in ("closing", "closed")

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of the workers that are there now, in the order of their names."""
        return tuple(worker.address for worker in workers_of(self._identity()))

    @property
    def dashboard(self) -> str:
        """The address of Dask's own dashboard, on loopback."""
        return str(self._cluster.dashboard_link)

    @property
    def secure(self) -> bool:
        """True if the traffic is encrypted."""
        return self._spec.secure

    @property
    def adapting(self) -> tuple[int, int] | None:
        """The least and the most workers of an adaptive scaling, or None when their number is fixed."""
        if self._adaptive is None or self.closed:
            return None
        return self._adaptive.minimum, int(self._adaptive.maximum)

    def scale(self, workers: int, timeout_s: float = 60.0) -> Self:
        """Have `workers` workers, and return when there are just that many. Ends an adaptive scaling."""
        self._check_workers(workers)
        if self._adaptive is not None:
            self._adaptive.stop()
            self._adaptive = None
        self._cluster.scale(workers)
        # Not Client.wait_for_workers: it replaces the cluster's own list of workers, and the message that a
        # worker has left, which comes after that, then breaks the cluster (distributed 2026.7.1).
        deadline = time.monotonic() + timeout_s
        while (got := len(self.workers)) != workers:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{got} workers are there after {timeout_s} s, not {workers}; the change may still come",
                    got=got,
                    want=workers,
                    timeout_s=timeout_s,
                )
            time.sleep(0.02)
        return self

    def adapt(self, minimum: int, maximum: int) -> Self:
        """Let the number of workers follow the load, between `minimum` and `maximum`, both included."""
        self._check_workers(minimum)
        self._check_workers(maximum)
        if minimum > maximum:
            raise ClusterError(f"cannot adapt between {minimum} and {maximum} workers; give minimum <= maximum")
        self._adaptive = self._cluster.adapt(minimum=minimum, maximum=maximum)
        return self

    def snapshot(self) -> ClusterSnapshot:
        """The cluster at this moment, as plain values. One question to the scheduler: some milliseconds."""
        seen = self._ask(self.client.run_on_scheduler, look)
        return ClusterSnapshot(
            backend=self.backend,
            reason=self.reason,
            secure=self.secure,
            dashboard=self.dashboard,
            workers=workers_of(seen["identity"], self.backend),
            at_s=time.time(),
            wanted=len(self._cluster.worker_spec),
            tasks=TaskCounts(**seen["tasks"]),
            losses=tuple(self._losses),
            machine_received_bytes_s=seen["received_bytes_s"],
            machine_sent_bytes_s=seen["sent_bytes_s"],
        )

    def log(self, worker: str | int, lines: int = LINES) -> str:
        """The last lines of a worker's log, oldest first, and when and why its process was lost if it was.

        worker: its name or address. Raises ClusterError for one that this cluster has not.
        """
        there = {known.name: known.address for known in workers_of(self._identity())}
        name = {address: name for name, address in there.items()}.get(str(worker), str(worker))
        losses = [loss for loss in self._losses if loss.worker == name]
        entries: Any = ()
        if name in there:
            scheduler = self.client.scheduler
            assert scheduler is not None
            # Not Client.get_worker_logs: it leaves out the times.
            message = {"op": "get_logs", "n": lines, "timestamps": True}
            answers = self._ask(
                self.client.sync, scheduler.broadcast, msg=message, workers=[there[name]], on_error="ignore"
            )
            entries = answers.get(there[name], ())
        elif not losses:
            known = ", ".join(sorted(there, key=by_name)) or "none, until they have started"
            raise ClusterError(f"this cluster has no worker {str(worker)!r}; it has: {known}", name=str(worker))
        return as_text(entries, losses, lines)

    def close(self) -> None:
        """End client, workers and scheduler and remove their temporary folder. Safe to call twice."""
        with contextlib.ExitStack() as steps:
            steps.callback(self._scratch.close)
            steps.callback(self._cluster.close)
            steps.callback(self._client.close)

    def _identity(self) -> Any:
        # Not Client.scheduler_info: its own periodic refresh can put an answer without workers in the place of
        # the one asked for (distributed 2026.7.1).
        scheduler = self.client.scheduler
        assert scheduler is not None
        return self._ask(self.client.sync, scheduler.identity, n_workers=-1)

    def _ask(self, question: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return question(*args, **options)
        except Exception:
            # Whatever a cluster says that is closed in the middle of an answer.
            self._require_open()
            raise

    def _check_workers(self, workers: int) -> None:
        self._require_open()
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ClusterError(f"cannot have {workers!r} workers; give a whole number of 1 or more")
        if self.backend == "cuda" and workers > len(self._choice.gpus):
            raise ClusterError(
                f"cannot have {workers} workers: this cluster has {len(self._choice.gpus)} GPUs, one a worker",
                found=len(self._choice.gpus),
            )
        self._spec.check_fits(workers, self.hardware)

    def _require_open(self) -> None:
        if self.closed:
            raise ClusterError("this cluster is closed; start a new one with lnb.Cluster(...)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "Cluster (closed)"
        workers = self.snapshot().workers
        threads = sum(worker.threads for worker in workers)
        memory = gigabytes(sum(worker.memory_limit_bytes for worker in workers))
        return "\n".join(
            [
                f"Cluster of {len(workers)} workers, {threads} threads, {memory} of memory in all",
                f"  {self.reason}",
                f"  hardware: {'; '.join(self.hardware.describe())}",
                f"  traffic: {'encrypted with TLS' if self.secure else 'not encrypted'}, on {self._spec.host}",
                f"  dashboard: {self.dashboard}",
            ]
        )


_GUARD = 'put what the script does below a line: if __name__ == "__main__":'


def _check_not_importing_main() -> None:
    """Raise ClusterError in a worker process that imports the user's script, and would start clusters without end."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            f"each worker process imports the script that started it, and must not do the same; {_GUARD}"
        )


def _script_advice() -> str:
    is_script = getattr(sys.modules["__main__"], "__file__", None) is not None
    return f" If a worker imported this script (see above), {_GUARD}" if is_script else ""
