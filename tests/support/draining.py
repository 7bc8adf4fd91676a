"""Read a source to its end as a stream does, and hold it to the contract on the way."""

import json
import pickle

import polars as pl

from lepton_nb.windowing.sources.base import Rows


def rows_between(source, before, after):
    """What lies between two positions: read twice, once from pickled parts."""
    parts = source.parts(before, after)
    read = [part.read() for part in parts]
    again = [pickle.loads(pickle.dumps(part)).read() for part in source.parts(before, after)]
    for one, other in zip(read, again, strict=True):
        assert one.frame.equals(other.frame)
        assert one.dead.equals(other.dead)
    return parts, read


def joined(read, schema=None):
    if not read:
        return Rows(pl.DataFrame(schema=schema))
    return Rows(pl.concat([rows.frame for rows in read]), pl.concat([rows.dead for rows in read]))


def steps(source, rows, position=None):
    """Batches up to the end of a source that has one: (planned, parts, rows read)."""
    while True:
        before = position
        planned = source.plan(before, rows, 0.0)
        assert json.loads(json.dumps(planned.after)) == planned.after
        parts, read = rows_between(source, before, planned.after)
        yield planned, parts, joined(read, source.schema)
        source.committed(planned.after)
        if planned.over:
            return
        assert planned.after != before, "neither more rows nor an end"
        position = planned.after


def drain(source, columns, rows=1_000, parallel=2, position=None):
    """All rows and dead letters of a source that ends."""
    with source:
        source.open(columns, parallel)
        found = [read for _, _, read in steps(source, rows, position)]
        if source.schema is not None:
            assert all(dict(read.frame.schema) == dict(source.schema) for read in found)
        return joined(found)


def now(source, position, rows=1_000, wait_s=0.0):
    """What is there at the moment: the rows, and the position after them."""
    planned = source.plan(position, rows, wait_s)
    _, read = rows_between(source, position, planned.after)
    return joined(read, source.schema), planned.after
