from pathlib import Path

import pytest

from lepton_nb.errors import WindowError
from lepton_nb.windowing import sinks
from lepton_nb.windowing.sinks.calls import CallSink
from lepton_nb.windowing.sinks.database import DuckDBSink
from lepton_nb.windowing.sinks.dataset import ParquetSink


def test_what_a_stream_can_write_to(tmp_path):
    sink = sinks.parquet(tmp_path)
    assert sinks.of(sink) is sink
    for path in ("results", Path("results"), "results.parquet"):
        assert isinstance(sinks.of(path), ParquetSink)
    for path in ("results.duckdb", Path("results.db"), "RESULTS.DB"):
        assert isinstance(sinks.of(path), DuckDBSink)
    assert isinstance(sinks.of(lambda table: None), CallSink)


@pytest.mark.parametrize("thing", [None, 5, ["a"]])
def test_anything_else_is_refused_with_what_it_can(thing):
    with pytest.raises(WindowError, match=r"writes to a sink such as sinks\.parquet.* or a function, not to a"):
        sinks.of(thing)
