"""The engines: each answers all questions. DuckDB and Spark run here, Flink and Beam in the Python of .venv-engines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from questions import Question
from spark_session import local_spark

from lepton_nb.errors import WindowError, WindowWarning
from lepton_nb.windowing.plan import bind
from lepton_nb.windowing.spec import END, START, GridShape, SessionShape, Spec

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / ".venv-engines" / "bin" / "python"
MS_NS = 1_000_000
# In the files that Flink reads; an empty text is another thing.
NULL = "\\N"
FLINK_TYPES = {pl.String: "STRING", pl.Boolean: "BOOLEAN", pl.Float64: "DOUBLE"}
FLINK_TYPES |= {pl.Int16: "SMALLINT", pl.Int32: "INT", pl.Int64: "BIGINT"}
# What beam_side.py can compute.
BEAM_AGGREGATES = ("count", "sum", "mean", "min", "max", "distinct")

warnings.simplefilter("ignore", WindowWarning)
warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")


@dataclass(frozen=True)
class Answer:
    """A result, or the reason why there is none; `live` where it came from a stream."""

    question: Question
    table: pl.DataFrame | None = None
    seconds: float = 0
    reason: str = ""
    live: bool = False


Tables = dict[str, pl.DataFrame]


def in_duckdb(asked: Sequence[Question], tables: Tables, folder: Path) -> Iterator[Answer]:
    """In this process."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table.to_arrow())
        for question in asked:
            begin = time.perf_counter()
            found = connection.sql(question.query.sql("duckdb", question.table)).pl()
            yield Answer(question, found, time.perf_counter() - begin)


def in_spark(asked: Sequence[Question], tables: Tables, folder: Path) -> Iterator[Answer]:
    """In a JVM of its own, which is gone at the end."""
    with local_spark(str(folder)) as spark:
        for name, table in tables.items():
            path = folder / f"{name}.parquet"
            table.with_columns(pl.col("ts").dt.cast_time_unit("us")).write_parquet(path)
            spark.read.parquet(str(path)).createOrReplaceTempView(name)
        for question in asked:
            begin = time.perf_counter()
            found = pl.from_arrow(spark.sql(question.query.sql("spark", question.table)).toArrow())
            assert isinstance(found, pl.DataFrame)
            yield Answer(question, found, time.perf_counter() - begin)


def in_flink(asked: Sequence[Question], tables: Tables, folder: Path) -> Iterator[Answer]:
    """As a batch, as a stream, or both: the SQL says where it can run in one only."""
    jobs: dict[str, list[dict[str, object]]] = {name: [] for name in tables}
    live = {}
    for number, question in enumerate(asked):
        try:
            sql = question.query.sql("flink")
        except WindowError as error:
            yield Answer(question, reason=str(error))
            continue
        stream_only, batch_only = (sql.startswith(f"-- For Flink's {mode} mode") for mode in ("streaming", "batch"))
        modes = [] if stream_only else ["batch"]
        modes += ["streaming"] if stream_only or (question.live and not batch_only) else []
        for mode in modes:
            name = f"{number} {mode}"
            live[name] = (question, mode == "streaming")
            # Our watermark is one tick further behind than Flink's.
            behind_ms = question.query.spec.lateness.out_of_order_ns // MS_NS + 1
            output = str(folder / name.replace(" ", "-"))
            query = {"name": name, "sql": sql, "mode": mode, "behind_ms": behind_ms, "output": output}
            jobs[question.table].append(query)
    for name, queries in jobs.items():
        job = {"sources": {}, "null": NULL, "time": "ts", "queries": queries}
        job["columns"] = [[column, _flink_type(dtype)] for column, dtype in tables[name].schema.items()]
        # A stream in Flink fails on a row without a time, before any query sees it.
        for mode, rows in (("batch", tables[name]), ("streaming", tables[name].drop_nulls("ts"))):
            source = job["sources"][mode] = str(folder / f"{name}-{mode}.csv")
            rows.write_csv(source, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S.%3f", null_value=NULL)
        for done in _elsewhere("flink_side.py", job, folder):
            question, streamed = live[done["name"]]
            output = next(query["output"] for query in queries if query["name"] == done["name"])
            table = _from_csv(Path(str(output)), done["columns"], _result_types(question, tables))
            yield Answer(question, table, done["seconds"], live=streamed)


def in_beam(asked: Sequence[Question], tables: Tables, folder: Path) -> Iterator[Answer]:
    """By a translation of the query, of what Beam's windows and an aggregate that merges can say."""
    jobs: dict[str, list[dict[str, object]]] = {name: [] for name in tables}
    translated = {}
    for number, question in enumerate(asked):
        shape, reason = _beam_windows(question.query.spec)
        if shape is None:
            yield Answer(question, reason=reason)
            continue
        aggregates = question.query.spec.aggregates
        known = [[name, a.name, a.column] for name, a in aggregates if a.name in BEAM_AGGREGATES]
        left_out = [name for name, a in aggregates if a.name not in BEAM_AGGREGATES]
        columns = list(dict.fromkeys(column for _, _, column in known if column))
        output = str(folder / f"{number}.json")
        query = {"name": question.name, "time": "ts", "keys": question.query.spec.keys, "columns": columns}
        jobs[question.table].append({**query, "shape": shape, "aggregates": known, "output": output})
        translated[question.name] = (question, output, known, f"without {', '.join(left_out)}" if left_out else "")
    for name, queries in jobs.items():
        source = folder / f"{name}.parquet"
        tables[name].with_columns(pl.col("ts").dt.epoch("ms")).write_parquet(source)
        for done in _elsewhere("beam_side.py", {"source": str(source), "queries": queries}, folder):
            question, output, known, reason = translated[done["name"]]
            types = _result_types(question, tables)
            columns = [*question.query.spec.keys, START, END, *(column for column, _, _ in known)]
            schema = {column: types[column] for column in columns}
            plain = {
                column: dtype if dtype in (pl.String, pl.Float64) else pl.Int64 for column, dtype in schema.items()
            }
            table = pl.read_ndjson(output, schema=plain).cast(schema)
            yield Answer(question, table, done["seconds"], reason)


ENGINES: dict[str, Callable[[Sequence[Question], Tables, Path], Iterator[Answer]]] = {
    "duckdb": in_duckdb,
    "spark": in_spark,
    "flink": in_flink,
    "beam": in_beam,
}


def _elsewhere(script: str, job: dict[str, object], folder: Path) -> Iterator[dict[str, object]]:
    """Run a script in the other environment; what it prints, line by line."""
    path, log = folder / "job.json", folder / "errors.log"
    path.write_text(json.dumps(job))
    with (
        log.open("w") as errors,
        subprocess.Popen([PYTHON, HERE / script, path], stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    yield json.loads(line)
            status = process.wait()
        finally:
            process.terminate()
    if status:
        sys.exit(f"{script} failed with status {status}:\n" + "\n".join(log.read_text().splitlines()[-30:]))


def _flink_type(dtype: pl.DataType) -> str:
    return "TIMESTAMP(3)" if isinstance(dtype, pl.Datetime) else FLINK_TYPES[type(dtype)]


def _result_types(question: Question, tables: Tables) -> dict[str, pl.DataType]:
    return bind(question.query.spec, tables[question.table].schema).result_schema


def _from_csv(path: Path, columns: list[str], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """What Flink wrote: one file or several, without a header."""
    assert columns == list(schema)
    files = sorted(file for file in ([path] if path.is_file() else path.iterdir()) if file.stat().st_size)
    text = pl.concat([pl.read_csv(file, has_header=False, schema=dict.fromkeys(columns, pl.String)) for file in files])
    casts = [
        pl.col(name).str.to_datetime(time_unit="ms") if isinstance(dtype, pl.Datetime) else pl.col(name).cast(dtype)
        for name, dtype in schema.items()
    ]
    return text.select(casts)


def _beam_windows(spec: Spec) -> tuple[dict[str, object] | None, str]:
    """The windows in milliseconds, or why Beam has none like them."""
    shape = spec.shape
    if isinstance(shape, SessionShape):
        return {"kind": "session", "gap": shape.gap_ns // MS_NS}, ""
    if not isinstance(shape, GridShape) or shape.kind == "cumulating":
        return None, f"Beam has no {shape.kind if shape else ''} windows"
    if shape.zone or shape.months:
        return None, "Beam's Python has no windows " + (f"by the clocks of {shape.zone}" if shape.zone else "of months")
    offset = shape.offset.ns % shape.every.ns // MS_NS
    lengths = {"size": shape.size.ns // MS_NS, "every": shape.every.ns // MS_NS, "offset": offset}
    return {"kind": shape.kind, **lengths}, ""
