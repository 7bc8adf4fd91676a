"""Runs SQL in Apache Flink. Started by compare.py, with the Python of .venv-engines: flink_side.py JOB.json.

The job names CSV files, one for each mode, their columns and types, and the queries: SQL, the mode to run it in, and
for streams how far the watermark stays behind. For each, the result is written as CSV, and one JSON line with its
columns and the seconds is printed.
"""

import json
import sys
import time
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableDescriptor, TableEnvironment


def environment(mode, job, behind_ms):
    """One table, `events`. A stream is read by one task, so that its rows keep their order."""
    settings = EnvironmentSettings.in_batch_mode() if mode == "batch" else EnvironmentSettings.in_streaming_mode()
    tables = TableEnvironment.create(settings)
    tables.get_config().set("table.local-time-zone", "UTC")
    tables.get_config().set("parallelism.default", "2" if mode == "batch" else "1")
    columns = [f"`{name}` {kind}" for name, kind in job["columns"]]
    if mode == "streaming":
        columns.append(
            f"WATERMARK FOR `{job['time']}` AS `{job['time']}` - INTERVAL '{behind_ms / 1_000:.3f}' SECOND(3, 3)"
        )
    options = {
        "connector": "filesystem",
        "path": job["sources"][mode],
        "format": "csv",
        "csv.null-literal": job["null"],
    }
    given = ", ".join(f"'{name}' = '{value}'" for name, value in options.items())
    tables.execute_sql(f"CREATE TABLE events ({', '.join(columns)}) WITH ({given})")
    return tables


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    environments = {}
    for query in job["queries"]:
        kind = (query["mode"], query["behind_ms"])
        if kind not in environments:
            environments[kind] = environment(query["mode"], job, query["behind_ms"])
        begin = time.perf_counter()
        result = environments[kind].sql_query(query["sql"])
        sink = TableDescriptor.for_connector("filesystem").option("path", query["output"]).format("csv").build()
        result.execute_insert(sink).wait()
        seconds = time.perf_counter() - begin
        columns = result.get_schema().get_field_names()
        print(
            json.dumps({"name": query["name"], "mode": query["mode"], "columns": columns, "seconds": seconds}),
            flush=True,
        )


if __name__ == "__main__":
    main()
