"""A window query over a whole table: in this process, or on a cluster where only partials travel."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import ClusterError, DataError, LeptonError, WindowError
from lepton_nb.windowing import combine, kinds, pages, slices
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.plan import Plan, bind
from lepton_nb.windowing.shards import divided as shards_of
from lepton_nb.windowing.slices import key_names
from lepton_nb.windowing.spec import Spec, listed

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
        return _on_cluster(frame, spec, client_of(cluster))
    with pages.ordinary():
        return _here(frames.lazy(frame), spec)


def _here(rows: pl.LazyFrame, spec: Spec) -> Result:
    plan = bind(spec, frames.schema(rows))
    if kinds.of(plan) is kinds.SLICES:
        counted = ours(lambda: slices.counted(rows, plan))
        if isinstance(counted, pl.DataFrame):
            return finish([counted], plan)
        # Nothing is set aside of what could be counted in cells.
        found = combine.windows_of_cells(counted, plan)
        return finish([counted.table()], plan) if found is None else Result(found, counted.rows, 0)
    return finish([scan(rows, plan)], plan)


def scan(rows: pl.LazyFrame, plan: Plan) -> pl.DataFrame:
    """The partial results of one part; runs here or on a worker, and raises our errors only."""
    check_types(frames.schema(rows), plan)
    with pages.ordinary():
        return ours(lambda: kinds.of(plan).scan(rows, plan))


def finish(tables: Sequence[pl.DataFrame], plan: Plan) -> Result:
    """Merge the partial results of all parts, in their order, and make windows of them."""
    with pages.ordinary():
        result = _windows(tables, plan)
    _check_some(result.rows, result.aside, plan)
    return result


def _windows(tables: Sequence[pl.DataFrame], plan: Plan) -> Result:
    kind = kinds.of(plan)
    rows = sum(kind.rows(table) for table in tables)
    merged = ours(lambda: kind.merge(tables, plan))
    kept, aside = kind.split_aside(merged, plan)
    return Result(kind.windows_table(kept, plan), rows, aside)


def _check_some(rows: int, aside: int, plan: Plan) -> None:
    if rows and aside == rows:
        raise WindowError(
            f"all {rows} rows lack a time ({plan.time!r})"
            + (f" or a key ({listed(plan.keys)})" if plan.keys else "")
            + ": nothing can be windowed; choose other columns or fill the nulls first",
            rows=rows,
        )


def client_of(cluster: Any) -> Any:
    """The Dask client of an lnb.Cluster, or the client itself. Raises ClusterError for anything else."""
    from distributed import Client

    client = getattr(cluster, "client", cluster)
    if not isinstance(client, Client):
        raise ClusterError(
            f"cluster must be an lnb.Cluster or a distributed.Client, not {client!r}; "
            "start one with lnb.Cluster(...), or leave it out to compute here"
        )
    return client


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
        if kinds.of(plan) is kinds.ORDERED and plan.keys and threads > 1:
            return _shuffled(scans, plan, client, threads, futures)
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


def _shuffled(scans: list[Any], plan: Plan, client: Any, shards: int, futures: list[Any]) -> Result:
    """Windows of rows: the rows travel between the workers, and each worker does some keys."""
    names = key_names(plan)
    divided = [client.submit(shards_of, scan, names, shards, pure=False) for scan in scans]
    pieces = [[client.submit(operator.getitem, part, n, pure=False) for part in divided] for n in range(shards)]
    finished = [client.submit(_windows, piece, plan, pure=False) for piece in pieces]
    futures += [*divided, *finished, *(piece for group in pieces for piece in group)]
    results: list[Result] = client.gather(finished)
    rows, aside = sum(result.rows for result in results), sum(result.aside for result in results)
    _check_some(rows, aside, plan)
    # All windows of a key come from one worker, in order.
    table = pl.concat([result.table for result in results]).sort(plan.keys, maintain_order=True)
    return Result(table, rows, aside)


def _parts(
    frame: frames.Frame, spec: Spec, client: Any, threads: int, futures: list[Any]
) -> tuple[Sequence[Any], Plan]:
    """Parts as arguments of a task: scans of files, or data held by the workers, which `futures` gains."""
    if frames.paths_of(frame) is not None:
        scans = frames.partitions(frame, FILE_PARTS_PER_THREAD * threads)
        return scans, bind(spec, frames.schema(scans[0]))
    if frames.is_dask(frame):
        held = client.compute(frames.partitions(frame, threads))
        futures += held
        return held, bind(spec, client.submit(frames.schema, held[0], pure=False).result())
    rows = frames.lazy(frame)
    plan = bind(spec, frames.schema(rows))
    needed = ours(lambda: rows.select([named(column) for column in plan.columns]).collect())
    held = client.scatter(frames.partitions(needed, threads), hash=False)
    futures += held
    return held, plan


def check_types(found: pl.Schema, plan: Plan) -> None:
    """One part of a table may differ from the one that the plan was made for; times would be read in a wrong unit."""
    for column, dtype in plan.input_schema.items():
        frames.present(found, [column])
        if found[column] != dtype:
            raise DataError(
                f"column {column!r} is {dtype} in one part of the table and {found[column]} in another; "
                "cast it to one type in every part",
                column=column,
                dtypes=(str(dtype), str(found[column])),
            )


def ours(work: Callable[[], T]) -> T:
    try:
        return work()
    except LeptonError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"the table cannot be read: {error}") from error
