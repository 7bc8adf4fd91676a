"""Runs window queries in Apache Beam. Started by compare.py, with the Python of .venv-engines: beam_side.py JOB.json.

The job names a Parquet file of rows (the time in milliseconds) and the queries: keys, windows, aggregates. For each,
the result is written as JSON lines, and one JSON line with the seconds is printed.
"""

import json
import sys
import time
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import window
from apache_beam.utils.timestamp import Duration, Timestamp


def windows_of(shape):
    """The windows of a query as Beam's."""
    lengths = {name: Duration(micros=1_000 * ms) for name, ms in shape.items() if name != "kind"}
    offset = Timestamp(micros=1_000 * shape.get("offset", 0))
    if shape["kind"] == "tumbling":
        return window.FixedWindows(lengths["size"], offset)
    if shape["kind"] == "sliding":
        return window.SlidingWindows(lengths["size"], lengths["every"], offset)
    # Beam joins sessions that overlap, ours also those that touch: one tick more, taken off again in `Rows`.
    return window.Sessions(lengths["gap"] + Duration(micros=1_000))


def in_a_gap(shape, at):
    """Whether a time is in no window; Beam's combiner fails on such a row."""
    return shape["kind"] == "sliding" and (at - shape["offset"]) % shape["every"] >= shape["size"]


class Read(beam.DoFn):
    """The rows of a file that have a time, a key and a window: ((keys), (values)) at their time."""

    def __init__(self, query):
        self.query = query

    def process(self, path):
        query = self.query
        table = pq.read_table(path, columns=list(dict.fromkeys([query["time"], *query["keys"], *query["columns"]])))
        keys, values = ([table[name].to_pylist() for name in query[part]] for part in ("keys", "columns"))
        rows = table.num_rows
        keys = list(zip(*keys, strict=True)) if keys else [()] * rows
        values = list(zip(*values, strict=True)) if values else [()] * rows
        for at, key, value in zip(table[query["time"]].to_pylist(), keys, values, strict=True):
            if at is not None and None not in key and not in_a_gap(query["shape"], at):
                yield window.TimestampedValue((key, value), Timestamp(micros=1_000 * at))


class Summary(beam.CombineFn):
    """The number of rows; of each column's values the count, sum, minimum, maximum, and which there are."""

    def __init__(self, columns, distinct):
        self.columns = columns
        self.distinct = [column in distinct for column in columns]

    def create_accumulator(self):
        return [0, [[0, 0, None, None, set()] for _ in self.columns]]

    def add_input(self, total, values):
        total[0] += 1
        for summary, value, distinct in zip(total[1], values, self.distinct, strict=True):
            if value is None:
                continue
            if distinct:
                summary[4].add(value)
            else:
                one = [1, value, value, value, ()]
                self._merge(summary, one)
        return total

    def merge_accumulators(self, totals):
        merged = self.create_accumulator()
        for rows, summaries in totals:
            merged[0] += rows
            for into, summary in zip(merged[1], summaries, strict=True):
                self._merge(into, summary)
        return merged

    def extract_output(self, total):
        return total

    @staticmethod
    def _merge(into, summary):
        count, total, low, high, values = summary
        into[0] += count
        into[1] += total
        if count:
            into[2] = low if into[2] is None else min(into[2], low)
            into[3] = high if into[3] is None else max(into[3], high)
        into[4] |= set(values)


class Rows(beam.DoFn):
    """One line of JSON a window."""

    def __init__(self, query):
        self.query = query

    def process(self, element, where=beam.DoFn.WindowParam):
        (keys, (rows, summaries)), query = element, self.query
        end = where.end.micros // 1_000 - (1 if query["shape"]["kind"] == "session" else 0)
        line = dict(zip(query["keys"], keys, strict=True)) | {
            "window_start": where.start.micros // 1_000,
            "window_end": end,
        }
        by_column = dict(zip(query["columns"], summaries, strict=True))
        for name, function, column in query["aggregates"]:
            if not column:
                line[name] = rows
                continue
            count, total, low, high, values = by_column[column]
            line[name] = {
                "count": count,
                "sum": total,
                "mean": total / count if count else None,
                "min": low,
                "max": high,
                "distinct": len(values),
            }[function]
        yield json.dumps(line)


def run(query, source):
    distinct = {column for _, function, column in query["aggregates"] if function == "distinct"}
    options = PipelineOptions([], runner="DirectRunner", direct_running_mode="in_memory", direct_num_workers=1)
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create([source])
            | beam.ParDo(Read(query))
            | beam.WindowInto(windows_of(query["shape"]))
            | beam.CombinePerKey(Summary(query["columns"], distinct))
            | beam.ParDo(Rows(query))
            | "forget the windows" >> beam.WindowInto(window.GlobalWindows())
            | beam.io.WriteToText(query["output"], shard_name_template="")
        )


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    for query in job["queries"]:
        begin = time.perf_counter()
        run(query, job["source"])
        print(json.dumps({"name": query["name"], "seconds": time.perf_counter() - begin}), flush=True)


if __name__ == "__main__":
    main()
