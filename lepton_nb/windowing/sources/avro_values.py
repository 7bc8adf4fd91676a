"""Avro values of messages, and the column types of their schema."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from lepton_nb.errors import WindowError

# A header of Confluent's schema registry: a zero byte and the schema's number in four.
HEADER_BYTES = 5


@dataclass(frozen=True)
class Avro:
    """Avro without a container, written with `schema` (JSON text), with or without a schema registry's header.

    A value that begins with a zero byte is first read as one with a header.
    """

    schema: str
    fault: ClassVar[str] = "not Avro"

    def reader(self) -> Callable[[bytes], Any]:
        return _avro_reader(self.schema)

    def types(self) -> dict[str, pl.DataType]:
        schema = json.loads(self.schema)
        named: dict[str, Any] = {}
        found = {entry["name"]: _column_type(entry["type"], named) for entry in schema["fields"]}
        return {name: dtype for name, dtype in found.items() if dtype is not None}


def avro(given: Any) -> Avro:
    """The decoder for a schema, a dict or JSON text; WindowError where it is none."""
    import fastavro

    if given is None:
        raise WindowError(
            "value='avro' needs avro_schema: the schema that the values were written with, a dict or JSON"
        )
    try:
        schema = json.loads(given) if isinstance(given, str) else given
        fastavro.parse_schema(schema)
        text = json.dumps(schema)
    except (ValueError, TypeError, KeyError, fastavro.schema.SchemaParseException) as error:
        raise WindowError(f"avro_schema is no Avro schema: {error}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise WindowError("avro_schema must be a record: its fields are the columns")
    return Avro(text)


@functools.lru_cache(maxsize=16)
def _avro_reader(text: str) -> Callable[[bytes], Any]:
    import fastavro

    schema = fastavro.parse_schema(json.loads(text))

    def whole(value: bytes) -> Any:
        stream = io.BytesIO(value)
        row = fastavro.schemaless_reader(stream, schema, None)
        if stream.tell() < len(value):
            raise ValueError(f"{len(value) - stream.tell()} bytes are left over")
        return row

    def read(value: bytes) -> Any:
        if value[:1] == b"\0" and len(value) > HEADER_BYTES:
            try:
                return whole(value[HEADER_BYTES:])
            except Exception:  # no header: the value itself begins with a zero
                return whole(value)
        return whole(value)

    return read


AVRO_TYPES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "fixed": pl.Binary(),
    "string": pl.String(),
    "enum": pl.String(),
}
AVRO_LOGICAL_TYPES: dict[str, pl.DataType] = {
    "date": pl.Date(),
    "time-millis": pl.Time(),
    "time-micros": pl.Time(),
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "timestamp-micros": pl.Datetime("us", "UTC"),
    "timestamp-nanos": pl.Datetime("ns", "UTC"),
    "local-timestamp-millis": pl.Datetime("ms"),
    "local-timestamp-micros": pl.Datetime("us"),
    "local-timestamp-nanos": pl.Datetime("ns"),
}


def _column_type(kind: Any, named: dict[str, Any]) -> pl.DataType | None:
    try:
        return _avro_type(kind, named)
    except RecursionError:  # a record that holds itself has no column type
        return None


def _avro_type(kind: Any, named: dict[str, Any]) -> pl.DataType | None:
    """None for what has no column type: maps, unions of several types, and logical types that are not known."""
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        return _avro_type(kinds[0], named) if len(kinds) == 1 else None
    if isinstance(kind, str):
        return AVRO_TYPES.get(kind) or (_avro_type(named[kind], named) if kind in named else None)
    if "name" in kind:
        named[kind["name"]] = kind
    if "logicalType" in kind:
        if kind["logicalType"] == "decimal":
            return pl.Decimal(kind["precision"], kind.get("scale", 0))
        return AVRO_LOGICAL_TYPES.get(kind["logicalType"])
    if kind["type"] == "array":
        inner = _avro_type(kind["items"], named)
        return None if inner is None else pl.List(inner)
    if kind["type"] == "record":
        fields = {entry["name"]: _avro_type(entry["type"], named) for entry in kind["fields"]}
        return pl.Struct({name: dtype for name, dtype in fields.items() if dtype is not None})
    return _avro_type(kind["type"], named) if kind["type"] != "map" else None
