"""A cluster in words and tables, for its panel: pure functions of a snapshot."""

from __future__ import annotations

import time

from lepton_nb.cluster.snapshot import ClusterSnapshot, TaskCounts, WorkerLoss, WorkerSnapshot, by_name
from lepton_nb.widgets.render import render

LOSSES_SHOWN = 5
NO_GPU = "no GPU seen"


def status(snapshot: ClusterSnapshot, adapting: tuple[int, int] | None) -> str:
    """How many workers there are, and what became of others. The same words as long as that is the same."""
    there, wanted = len(snapshot.workers), snapshot.wanted
    words = f"{_workers(there)} up." if there == wanted else f"{there} of {_workers(wanted)} up."
    if adapting is not None:
        words += f" Their number follows the load, from {adapting[0]} to {adapting[1]}."
    if snapshot.losses:
        last, count = snapshot.losses[-1], len(snapshot.losses)
        again = "it starts again" if there < wanted else "it was started again"
        more = f" Workers were lost {count} times so far." if count > 1 else ""
        words += f" Worker {last.worker} was lost: {last.reason}; {again}.{more}"
    return words


def facts(snapshot: ClusterSnapshot) -> str:
    """HTML: the backend and why, how traffic goes, and the link to Dask's dashboard."""
    return render("cluster_facts", snapshot=snapshot)


def workers_table(snapshot: ClusterSnapshot) -> str:
    """HTML: a table of the workers, all tasks in numbers, and the last workers that were lost."""
    headings = [
        "Threads",
        "CPU (% of one core)",
        "Memory (GB)",
        "Own memory, of its limit (GB)",
        "On disk (GB)",
        "Running",
        "Next in line",
        "Results kept",
        "Received (MB/s)",
        "Sent (MB/s)",
    ]
    if snapshot.backend == "cuda":
        headings += ["GPU (%)", "GPU memory (GB)"]
    return render(
        "cluster_workers",
        headings=headings,
        rows=[(worker.name, _cells(worker, snapshot.backend == "cuda")) for worker in snapshot.workers],
        tasks=tasks(snapshot.tasks),
        counted=counted(snapshot),
        losses=[_loss(loss) for loss in snapshot.losses[-LOSSES_SHOWN:]],
    )


def counted(snapshot: ClusterSnapshot) -> str:
    """What the processor and memory of a worker stand for."""
    once = all(worker.children_shared_once for worker in snapshot.workers)
    return (
        "CPU and memory count a worker with all processes that it started, such as the ranks of a training; memory "
        f"that they share counts {'once' if once else 'in each'}. The limit is that of the worker's own memory."
    )


def names(snapshot: ClusterSnapshot) -> list[str]:
    """The workers that have a log: those that are there, and those that were lost."""
    known = {worker.name for worker in snapshot.workers} | {loss.worker for loss in snapshot.losses}
    return sorted(known, key=by_name)


def log(worker: str, text: str) -> str:
    """HTML: the log of a worker, scrolled to its end."""
    return render("cluster_log", worker=worker, text=text)


def tasks(counts: TaskCounts) -> str:
    """All tasks in numbers."""
    return (
        f"{counts.waiting:,} waiting, {counts.processing:,} given to a worker, {counts.finished:,} finished, "
        f"{counts.failed:,} failed, {counts.in_memory:,} results kept"
    )


def summary(snapshot: ClusterSnapshot, adapting: tuple[int, int] | None) -> str:
    """Plain text of what the panel shows."""
    lines = [status(snapshot, adapting), f"{snapshot.reason}.", f"Tasks: {tasks(snapshot.tasks)}."]
    for worker in snapshot.workers:
        gpu = f", {_gpu(worker)}" if snapshot.backend == "cuda" else ""
        lines.append(
            f"Worker {worker.name}: {_threads(worker.threads)}, CPU {_cpu(worker)}, "
            f"memory {_memory(worker)}, {worker.spilled_bytes / 1e9:.2f} on disk, {worker.executing} tasks running{gpu}"
        )
    if any(worker.children for worker in snapshot.workers):
        lines.append(counted(snapshot))
    return "\n".join(lines)


def _cells(worker: WorkerSnapshot, has_gpu: bool) -> list[str]:
    cells = [
        str(worker.threads),
        f"{worker.cpu_percent:.0f}",
        f"{worker.memory_bytes / 1e9:.2f}",
        _own_memory(worker),
        f"{worker.spilled_bytes / 1e9:.2f}",
        f"{worker.executing:,}",
        f"{worker.ready:,}",
        f"{worker.in_memory:,}",
        f"{worker.received_bytes_s / 1e6:.2f}",
        f"{worker.sent_bytes_s / 1e6:.2f}",
    ]
    if has_gpu:
        cells += [_gpu_percent(worker).removesuffix(" %"), _gpu_memory(worker).removesuffix(" GB")]
    return cells


def _own_memory(worker: WorkerSnapshot) -> str:
    return f"{worker.own_memory_bytes / 1e9:.2f} of {worker.memory_limit_bytes / 1e9:.2f}"


def _memory(worker: WorkerSnapshot) -> str:
    if not worker.children:
        return f"{_own_memory(worker)} GB"
    return f"{worker.memory_bytes / 1e9:.2f} GB ({_own_memory(worker)} GB its own)"


def _cpu(worker: WorkerSnapshot) -> str:
    said = f"{worker.cpu_percent:.0f} % of one core"
    if not worker.children:
        return said
    started = "1 process" if worker.children == 1 else f"{worker.children} processes"
    return f"{said} ({worker.children_cpu_percent:.0f} % in {started} that it started)"


def _gpu(worker: WorkerSnapshot) -> str:
    if not worker.gpu_tells:
        return NO_GPU
    return f"GPU {_gpu_percent(worker)}, GPU memory {_gpu_memory(worker)}"


def _gpu_percent(worker: WorkerSnapshot) -> str:
    if not worker.gpu_tells:
        return NO_GPU
    return "unknown" if worker.gpu_percent is None else f"{worker.gpu_percent:.0f} %"


def _gpu_memory(worker: WorkerSnapshot) -> str:
    if not worker.gpu_tells:
        return NO_GPU
    used, limit = worker.gpu_memory_bytes, worker.gpu_memory_limit_bytes
    if used is None:
        return "unknown" if limit is None else f"unknown, of {limit / 1e9:.1f} GB"
    return f"{used / 1e9:.1f}{'' if limit is None else f' of {limit / 1e9:.1f}'} GB"


def _loss(loss: WorkerLoss) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(loss.at_s))
    return f"Worker {loss.worker} was lost at {at}: {loss.reason}."


def _workers(count: int) -> str:
    return "1 worker is" if count == 1 else f"{count} workers are"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
