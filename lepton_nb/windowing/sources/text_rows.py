"""Lines of CSV and of JSON to typed rows. One bad line costs only itself, and changes nothing in its neighbours."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from lepton_nb.windowing.partials import named
from lepton_nb.windowing.sources.base import Rows
from lepton_nb.windowing.sources.values import dead, fault, from_text, set_aside, typed, without

# Smaller blocks are read line by line where they cannot be read at once.
SMALL_BLOCK_LINES = 64

QUOTED = re.compile(rb'"[^"\n]*"')


@dataclass(frozen=True)
class Block:
    """Whole lines of a file, the first of which starts at byte `start`; `required` columns must not be null."""

    data: bytes
    start: int
    name: str
    channel: str
    schema: Mapping[str, pl.DataType]
    required: Sequence[str]

    def lines(self) -> list[tuple[int, bytes]]:
        """Lines that are not blank, and where in the file each begins."""
        found, at = [], self.start
        for line in self.data.split(b"\n"):
            if line.strip():
                found.append((at, line.rstrip(b"\r")))
            at += len(line) + 1
        return found

    def offset(self, at: int) -> str:
        """A byte of the file as a dead letter names it."""
        return f"{self.name} byte {at}"

    def halves(self) -> tuple[Block, Block]:
        """Two blocks with half of the bytes each, cut between lines."""
        cut = self.data.find(b"\n", len(self.data) // 2) + 1
        if cut <= 0 or cut == len(self.data):
            cut = self.data.rfind(b"\n", 0, len(self.data) // 2) + 1
        return replace(self, data=self.data[:cut]), replace(self, data=self.data[cut:], start=self.start + cut)


def json_rows(block: Block) -> Rows:
    """Rows from lines of JSON objects. Where not all lines can be read at once, halves of them are, and so on."""
    pending, done = [block], []
    while pending:
        block = pending.pop()
        rows = _json_at_once(block)
        if rows is None and block.data.count(b"\n") > SMALL_BLOCK_LINES:
            pending += reversed(block.halves())
            continue
        done.append(_json_one_by_one(block) if rows is None else rows)
    return joined(done, block.schema)


def csv_rows(block: Block, header: Sequence[str]) -> Rows:
    """Rows from lines of CSV with these columns. A row is one line: a quoted cell cannot hold a line break."""
    text = _csv_text(block, block.data, header)
    rows = None if text is None else _rows(block, *_typed(block, text))
    return _csv_by_lines(block, header) if rows is None else rows


def json_object(line: bytes) -> Any:
    """The object that the line holds; None if it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def cells(line: str) -> list[str] | None:
    """The cells of a line of CSV; None where a quote is not closed."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None


def _typed(block: Block, text: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, str]]:
    """`text` with the columns' types, and which rows have a cell that is not of its column's type."""
    columns, faults = [], dict[int, str]()
    for name, dtype in block.schema.items():
        raw = text.get_column(name)
        column = from_text(raw, dtype) if raw.dtype == pl.String else raw.cast(dtype, strict=False)
        if column.null_count() > raw.null_count():
            for i in (column.is_null() & raw.is_not_null()).arg_true():
                faults.setdefault(i, fault(name, dtype, raw[i]))
        columns.append(column.alias(name))
    return pl.DataFrame(columns), faults


def _rows(block: Block, frame: pl.DataFrame, faults: dict[int, str]) -> Rows | None:
    """Rows without the faulty ones; None where it cannot be told which line a row comes from."""
    _need(block, frame, faults)
    if not faults:
        return Rows(frame)
    lines = block.lines()
    if len(lines) != frame.height:
        return None
    return set_aside(
        frame,
        faults,
        block.channel,
        lambda i: block.offset(lines[i][0]),
        lambda i: lines[i][1].decode(errors="replace"),
    )


def _need(block: Block, frame: pl.DataFrame, faults: dict[int, str]) -> None:
    """Note the rows that lack what is required."""
    for name in block.required:
        for i in frame.get_column(name).is_null().arg_true():
            faults.setdefault(i, f"no {name!r}")


def _json_at_once(block: Block) -> Rows | None:
    """None where a line is bad, or might be."""
    types = {name: _read_as(dtype) for name, dtype in block.schema.items()}
    if None in types.values():
        return None
    for name, dtype in types.items():
        # Polars reads a number or an object into a String column as its text; here that is not of the column's type.
        quoted = json.dumps(name).encode()
        if dtype == pl.String and (b"\\" in quoted or re.search(re.escape(quoted) + rb'\s*:\s*[^"\sn]', block.data)):
            return None
    if not block.data.strip():
        return Rows(pl.DataFrame(schema=dict(block.schema)))
    try:
        text = pl.read_ndjson(io.BytesIO(block.data), schema=types)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    frame, faults = _typed(block, text)
    return None if faults else _rows(block, frame, faults)


def _read_as(dtype: pl.DataType) -> pl.DataType | None:
    """The type in which Polars reads such a column from JSON without changing or refusing more than we do."""
    if dtype == pl.String or dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return pl.String()
    if dtype.is_signed_integer() or dtype == pl.UInt8 or dtype == pl.UInt16 or dtype == pl.UInt32:
        return pl.Int64()
    if dtype == pl.Float64 or dtype == pl.Boolean:
        return dtype
    return None


def _json_one_by_one(block: Block) -> Rows:
    lines = block.lines()
    return typed(
        [json_object(line) for _, line in lines],
        [line.decode(errors="replace") for _, line in lines],
        [block.offset(at) for at, _ in lines],
        block.channel,
        dict(block.schema),
        block.required,
    )


def _csv_text(block: Block, data: bytes, header: Sequence[str]) -> pl.DataFrame | None:
    """The needed cells as text; None where a line has too few or too many cells, a quote is not closed, or bytes are no
    text."""
    if not data.strip():
        return pl.DataFrame(schema=dict.fromkeys(block.schema, pl.String()))
    try:
        text = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            schema={name: pl.String() for name in header},
            columns=[header.index(name) for name in block.schema],
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    # Too many cells are an error above, too few are not: all commas together tell.
    outside = QUOTED.sub(b"", data) if b'"' in data else data
    if b'"' in outside or outside.count(b",") != text.height * (len(header) - 1):
        return None
    return text.select(map(named, block.schema))


def _csv_by_lines(block: Block, header: Sequence[str]) -> Rows:
    """Take out the lines that are not well formed, then read the others at once."""
    lines = block.lines()
    reasons = {i: reason for i, (_, line) in enumerate(lines) if (reason := csv_fault(line, len(header)))}
    good = [i for i in range(len(lines)) if i not in reasons]
    text = _csv_text(block, b"".join(lines[i][1] + b"\n" for i in good), header)
    if text is None or text.height != len(good):
        # Rarely Polars does not take what Python takes for CSV: it is asked about each line.
        alone = {i: _csv_text(block, lines[i][1] + b"\n", header) for i in good}
        taken = {i: row for i, row in alone.items() if row is not None and row.height == 1}
        reasons |= {i: "not CSV" for i in good if i not in taken}
        good = list(taken)
        text = pl.concat([pl.DataFrame(schema=dict.fromkeys(block.schema, pl.String())), *taken.values()])
    frame, faults = _typed(block, text)
    _need(block, frame, faults)
    reasons |= {good[i]: reason for i, reason in faults.items()}
    bad = sorted(reasons)
    letters = dead(
        [block.channel] * len(bad),
        [block.offset(lines[i][0]) for i in bad],
        [reasons[i] for i in bad],
        [lines[i][1].decode(errors="replace") for i in bad],
    )
    return Rows(without(frame, faults), letters)


def joined(rows: Sequence[Rows], schema: Mapping[str, pl.DataType]) -> Rows:
    """The rows and dead letters of several, one after the other."""
    if not rows:
        return Rows(pl.DataFrame(schema=dict(schema)))
    if len(rows) == 1:
        return rows[0]
    return Rows(pl.concat([part.frame for part in rows]), pl.concat([part.dead for part in rows]))


def csv_fault(line: bytes, columns: int) -> str | None:
    """Why a line is not one of CSV with so many columns; None if it is."""
    try:
        found = cells(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8 text"
    if found is None:
        return "a quote is not closed, or text follows it; a row must be one line"
    if len(found) != columns:
        return f"{len(found)} cells, where the header has {columns}"
    return None
