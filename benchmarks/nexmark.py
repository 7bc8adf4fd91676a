"""Nexmark's queries 5, 7, 8, 11 and 12: ours over tables and as streams, and DuckDB over the finished tables.

    python benchmarks/nexmark.py [--only 5,7,8,11,12] [--events 2000000] [--rate 10000] [--batch-rows 200000]
                                 [--seed 0] [--rounds 5]

The events are made by `lnb.datasets.nexmark`: persons, auctions and bids at 2, 6 and 92 of 100, `rate` events a second
of event time. All contenders have them in memory, each in its own form; making and loading them is not counted. Streams
get them in the order of arrival, up to 3 s out of order, in micro-batches of so many rows, until there are no more.
Before anything is timed, the results of table, stream and DuckDB are compared row for row; a query on which they differ
is not timed. Then the contenders take turns, and medians are printed. M rows/s counts the events that a query reads.
"""

from __future__ import annotations

import argparse

import polars as pl
from support import machine
from support.contest import Contender, Targets, chosen, same, show, take_turns
from support.nexmark_queries import QUESTIONS, in_order_of_arrival, loaded, tidy

import lepton_nb as lnb


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="QUERY,...", help=f"some of {', '.join(map(str, QUESTIONS))}")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=10_000, help="events a second of event time")
    parser.add_argument("--batch-rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    numbers = [int(name) for name in chosen(options.only, [str(number) for number in QUESTIONS])]
    print(machine.describe(("polars", "duckdb", "numpy")))
    tables = lnb.datasets.nexmark(options.events, rate=options.rate, seed=options.seed)
    streams = in_order_of_arrival(tables)
    print(
        f"{options.events:,} events in {options.events / options.rate:,.0f} s of event time: "
        + ", ".join(f"{table.height:,} {name}" for name, table in tables._asdict().items())
        + f"; streams in batches of {options.batch_rows:,} rows; {options.rounds} rounds in turn; "
        f"Polars with {pl.thread_pool_size()} threads"
    )
    connection = loaded(tables)
    equal = 0
    for number in numbers:
        question = QUESTIONS[number]
        answers = {
            "ours, table": lambda q=question: q.over_table(tables),
            "ours, stream": lambda q=question: q.over_stream(streams, options.batch_rows),
            "duckdb, table": lambda q=question: q.over_duckdb(connection),
        }
        try:
            agreed = same({name: tidy(answer()) for name, answer in answers.items()})
        except AssertionError as error:
            print(f"\nquery {number}: results DIFFER, not timed: {error}")
            continue
        equal += 1
        print(f"\nquery {number}, {question.title}: {agreed.height:,} rows, results agree; {machine.load()}")
        times = take_turns({name: Contender(answer) for name, answer in answers.items()}, options.rounds)
        show(times, question.rows(tables), ours="ours, table")
        print(
            f"  DuckDB / ours: {times.ratio('duckdb, table', 'ours, table'):.2f} as table, "
            f"{times.ratio('duckdb, table', 'ours, stream'):.2f} as stream"
        )
    targets = Targets()
    print()
    targets.at_least("Nexmark queries with the same rows from table, stream and DuckDB", equal, len(numbers))
    return targets.status


if __name__ == "__main__":
    raise SystemExit(main())
