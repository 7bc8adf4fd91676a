import polars as pl
import pytest

from lepton_nb.errors import WindowError
from lepton_nb.windowing import sinks

ROWS = pl.DataFrame({"key": ["a"], "window_start": [0], "window_end": [1], "n": [2]})
WINDOWS = ROWS.drop("n")


def written(function, rows=ROWS, retracted=WINDOWS):
    with sinks.call(function) as sink:
        sink.open(ROWS.schema, ["key"], refires=True)
        sink.write(7, rows, retracted)


def test_a_function_gets_what_it_takes():
    seen = []
    written(lambda table: seen.append((table,)))
    written(lambda table, batch: seen.append((table, batch)))
    written(lambda table, batch, retracted: seen.append((table, batch, retracted)))
    written(lambda table, batch=0: seen.append((table, batch)))
    written(seen.append)
    written(lambda *everything: seen.append(everything))
    assert seen == [(ROWS,), (ROWS, 7), (ROWS, 7, WINDOWS), (ROWS, 0), ROWS, (ROWS,)]


class Collector:
    def __init__(self):
        self.tables = []

    def __call__(self, table, batch):
        self.tables.append((batch, table))

    def take(self, table):
        self.tables.append(table)


def test_methods_and_objects_that_can_be_called():
    collector = Collector()
    written(collector)
    written(collector.take)
    assert collector.tables == [(7, ROWS), ROWS]


def test_a_batch_that_only_takes_windows_back_goes_to_those_who_hear_of_them():
    seen = []
    written(seen.append, rows=ROWS.clear())
    written(lambda table, batch, retracted: seen.append(retracted), rows=ROWS.clear())
    assert seen == [WINDOWS]


def test_what_cannot_be_called_so_is_refused():
    with pytest.raises(WindowError, match="takes a function such as lambda table"):
        sinks.call(5)
    for function in (lambda: None, lambda a, b, c, d: None, lambda table, *, name: None, lambda **named: None):
        with pytest.raises(WindowError, match=r"takes \(table\), \(table, batch\) or \(table, batch, retracted\)"):
            sinks.call(function)


def test_an_error_of_the_function_comes_out():
    def broken(table):
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        written(broken)


def test_it_cannot_be_read_back():
    with pytest.raises(WindowError, match="a call sink cannot be read back"):
        sinks.call(print).table()
