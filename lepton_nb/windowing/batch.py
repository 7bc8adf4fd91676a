"""A window query over a whole table: in this process, or on a cluster where only partials travel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import ClusterError, DataError, LeptonError, WindowError
from lepton_nb.windowing import slices
from lepton_nb.windowing.aggregates import ROWS, named
from lepton_nb.windowing.combine import windows_table
from lepton_nb.windowing.spec import Plan, Spec, bind

if TYPE_CHECKING:
    from distributed import Client

    from lepton_nb.cluster.session import Cluster

T = TypeVar("T")

# Files are cut finer than there are threads, so that an uneven part does not leave the others idle.
FILE_PARTS_PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class Result:
    """`table` is the query's result; `aside` of the `rows` read have no time or no key and are not in it."""

    table: pl.DataFrame
    rows: int
    aside: int


def collect(frame: frames.Frame, spec: Spec, cluster: Cluster | Client | None) -> Result:
    """The result of `spec` over `frame`.

    Raises WindowError where the query does not fit the table, DataError where the table cannot be read,
    ClusterError where the cluster cannot do its part.
    """
    if cluster is not None:
        return _on_cluster(frame, spec, getattr(cluster, "client", cluster))
    rows = frames.lazy(frame)
    plan = bind(spec, frames.schema(rows))
    return finish([scan(rows, plan)], plan)


def scan(rows: pl.LazyFrame, plan: Plan) -> pl.DataFrame:
    """The slice table of one part; runs here or on a worker, and raises our errors only."""
    return _ours(lambda: slices.scan(rows, plan))


def finish(tables: Sequence[pl.DataFrame], plan: Plan) -> Result:
    """Merge the slice tables of all parts, in their order, and combine slices into windows."""
    merged = _ours(lambda: slices.merge(tables, plan))
    kept, aside = slices.split_aside(merged, plan)
    rows = int(merged.get_column(ROWS.name).sum())
    if rows and aside == rows:
        raise WindowError(
            f"all {rows} rows lack a time ({plan.time!r})"
            + (f" or a key ({_named(plan.keys)})" if plan.keys else "")
            + ": nothing can be windowed; choose other columns or fill the nulls first",
            rows=rows,
        )
    table = windows_table(kept, plan) if kept.height else pl.DataFrame(schema=plan.result_schema)
    return Result(table, rows, aside)


def _on_cluster(frame: frames.Frame, spec: Spec, client: Any) -> Result:
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    if client.status != "running":
        raise ClusterError("the cluster is closed; start one with lnb.Cluster(...), or collect() without it")
    threads = sum(client.nthreads().values())
    if not threads:
        raise ClusterError("the cluster has no workers; call cluster.scale(2), or collect() without it")
    futures: list[Any] = []
    try:
        parts, plan = _parts(frame, spec, client, threads, futures)
        scans = [client.submit(scan, part, plan, pure=False) for part in parts]
        futures += scans
        tables = client.gather(scans)
    except (CancelledError, CommClosedError, KilledWorker) as error:
        raise ClusterError(
            f"a worker died while it scanned its partition ({error}); call collect() again, "
            "and if that fails too, give the workers more memory: lnb.Cluster(memory=...)"
        ) from error
    finally:
        # Also after Ctrl-C or an error in one part: the others must not go on.
        if client.status == "running":
            client.cancel(futures, force=True)
    return finish(tables, plan)


def _parts(
    frame: frames.Frame, spec: Spec, client: Any, threads: int, futures: list[Any]
) -> tuple[Sequence[Any], Plan]:
    """Parts as arguments of a task: scans of files, or data held by the workers, which `futures` gains."""
    if _is_path(frame):
        plan = bind(spec, frames.schema(frames.lazy(frame)))
        return frames.partitions(frame, FILE_PARTS_PER_THREAD * threads), plan
    if hasattr(frame, "to_delayed"):
        held = client.compute(frames.partitions(frame, threads))
        futures += held
        return held, bind(spec, client.submit(frames.schema, held[0], pure=False).result())
    rows = frames.lazy(frame)
    plan = bind(spec, frames.schema(rows))
    needed = _ours(lambda: rows.select([named(column) for column in plan.columns]).collect())
    held = client.scatter(frames.partitions(needed, threads), hash=False)
    futures += held
    return held, plan


def _is_path(frame: object) -> bool:
    return isinstance(frame, str | os.PathLike | list | tuple)


def _ours(work: Callable[[], T]) -> T:
    try:
        return work()
    except LeptonError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"the table cannot be read: {error}") from error


def _named(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
