"""The same window queries in lepton_nb, DuckDB, Spark, Flink and Beam: are the results equal, row for row?

    compare.py [ENGINE ...]

Prints one line for each engine and query. Exit status 1 where a result differs or an engine fails, with the difference.
Needs Java and .venv-engines, which scripts/engines.sh makes; `make test-engines` does all of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import engines
import questions
import results


def main() -> int:
    """Ask every engine every question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(engines.ENGINES)}; all if left out"
    )
    chosen = parser.parse_args().engines or list(engines.ENGINES)
    unknown = [name for name in chosen if name not in engines.ENGINES]
    if unknown:
        parser.error(f"unknown engine {unknown[0]!r}; known: {', '.join(engines.ENGINES)}")
    tables = questions.tables()
    asked = questions.questions(tables)
    ours = dict(own(asked))
    failures = 0
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="lepton-nb-engines-") as folder:
            for answer in engines.ENGINES[name](asked, tables, Path(folder)):
                failures += not judged(name, answer, ours[answer.question.name])
    print(f"{failures} results differ" if failures else "all results are equal")
    return 1 if failures else 0


def own(asked: list[questions.Question]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Our results, to which the others are held."""
    for question in asked:
        begin = time.perf_counter()
        result = question.query.collect()
        line("lepton_nb", question.name, f"{result.height:>9,} rows", time.perf_counter() - begin)
        yield question.name, result


def judged(engine: str, answer: engines.Answer, ours: pl.DataFrame) -> bool:
    """Print what came of a question; False where the result is not ours."""
    label = engine + (" stream" if answer.live else "")
    if answer.table is None:
        line(label, answer.question.name, f"skipped: {answer.reason}")
        return True
    ours = ours.select(answer.table.columns)
    found = results.difference(answer.table, ours, list(answer.question.query.spec.keys))
    rows = f"{answer.table.height:>9,} rows {'differ' if found else 'equal'}"
    line(label, answer.question.name, rows + (f" ({answer.reason})" if answer.reason else ""), answer.seconds)
    if found:
        print("    " + found.replace("\n", "\n    "), flush=True)
    return not found


def line(engine: str, question: str, text: str, seconds: float | None = None) -> None:
    print(f"{engine:<13} {question:<32} {text}" + ("" if seconds is None else f"  {seconds:.1f} s"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
