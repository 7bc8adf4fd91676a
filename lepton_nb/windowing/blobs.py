"""Tables and a header in one run of bytes, in Arrow's format: nothing in it is executed when it is read."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.spec import Spec

MAGIC = b"lepton-nb windows 1\n"


def packed(header: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> bytes:
    """A checksum, the header as JSON, then each table."""
    bodies = [table_bytes(table) for table in tables.values()]
    lengths = dict(zip(tables, map(len, bodies), strict=True))
    head = json.dumps({"header": header, "tables": lengths}).encode()
    rest = struct.pack("<Q", len(head)) + head + b"".join(bodies)
    return MAGIC + hashlib.blake2b(rest, digest_size=16).digest() + rest


def table_bytes(table: pl.DataFrame) -> bytes:
    """A table in Arrow's file format."""
    buffer = io.BytesIO()
    table.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def table_of(content: bytes) -> pl.DataFrame:
    """The table that `table_bytes` wrote."""
    return pl.read_ipc(io.BytesIO(content))


def unpacked(blob: bytes) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Header and tables. Raises WindowError for bytes that `packed` did not make, or that are damaged."""
    checksum, rest = blob[len(MAGIC) : len(MAGIC) + 16], blob[len(MAGIC) + 16 :]
    if not blob.startswith(MAGIC) or hashlib.blake2b(rest, digest_size=16).digest() != checksum:
        raise WindowError("this is not a snapshot of window state, or it is damaged; take an older one, or start anew")
    (length,) = struct.unpack_from("<Q", rest)
    head = json.loads(rest[8 : 8 + length])
    tables = {}
    at = 8 + length
    for name, size in head["tables"].items():
        tables[name] = table_of(rest[at : at + size])
        at += size
    return head["header"], tables


def fingerprint(spec: Spec) -> str:
    """Tells one query from another: columns, windows, lateness, aggregates (of a custom one only its name)."""
    return digest(repr(spec))


def digest(text: str) -> str:
    """A short name for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def check_query(found: Any, expected: str) -> None:
    """Raise WindowError unless state was made for the query with this fingerprint."""
    if found != expected:
        raise WindowError(
            "this state was made by another query: its windows, keys, lateness or aggregates differ; "
            "go on with that query, or start anew in another place"
        )
