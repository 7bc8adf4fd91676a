"""Protobuf values of messages, and the column types of their class."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from lepton_nb.errors import WindowError

if TYPE_CHECKING:
    from google.protobuf.message import Message

# A header of Confluent's schema registry: a zero byte and the schema's number in four.
HEADER_BYTES = 5


@dataclass(frozen=True)
class Protobuf:
    """Messages of one Protobuf class, with or without a schema registry's header; `files` describe it in full.

    The header's first byte is zero, which begins no Protobuf message. A field without presence that was not sent has
    its default, as in Protobuf itself: 0, "" or false.
    """

    files: tuple[bytes, ...]
    name: str
    fault: ClassVar[str] = "not Protobuf"

    def reader(self) -> Callable[[bytes], Any]:
        make = _message_class(self.files, self.name)

        def read(value: bytes) -> Any:
            message = make()
            message.ParseFromString(value if value[:1] != b"\0" else value[_body(value) :])
            return _fields(message)

        return read

    def types(self) -> dict[str, pl.DataType]:
        descriptor: Any = _message_class(self.files, self.name).DESCRIPTOR
        found = {entry.name: _column_type(entry) for entry in descriptor.fields}
        return {name: dtype for name, dtype in found.items() if dtype is not None}


def protobuf(given: Any) -> Protobuf:
    """The decoder for a generated class; WindowError where it is none."""
    from google.protobuf.message import Message

    descriptor = getattr(given, "DESCRIPTOR", None)
    if not (isinstance(given, type) and issubclass(given, Message)) or descriptor is None:
        raise WindowError("value='protobuf' needs message: the generated class of the messages")
    # The description of the class travels, for a class that was made at run time does not.
    return Protobuf(tuple(_described(descriptor.file, {}).values()), descriptor.full_name)


def _described(file: Any, known: dict[str, bytes]) -> dict[str, bytes]:
    """The descriptions of a file and of all that it imports, these first."""
    for needed in file.dependencies:
        _described(needed, known)
    known.setdefault(file.name, file.serialized_pb)
    return known


@functools.lru_cache(maxsize=16)
def _message_class(files: tuple[bytes, ...], name: str) -> type[Message]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
    found: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return found


def _body(value: bytes) -> int:
    """Where the message begins behind a header and the numbers that say which message of the schema it is."""
    at = HEADER_BYTES
    count, at = _varint(value, at)
    # Zigzag: a count of n is written as 2n; none at all stands for the first message.
    for _ in range(count // 2):
        _, at = _varint(value, at)
    return at


def _varint(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = value[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _fields(message: Any) -> dict[str, Any]:
    """Names and values of the fields; None where one with presence is not set."""
    row = {}
    for entry in message.DESCRIPTOR.fields:
        if not entry.is_repeated:
            absent = entry.has_presence and not message.HasField(entry.name)
            row[entry.name] = None if absent else _field(entry, getattr(message, entry.name))
        elif not _is_map(entry):
            row[entry.name] = [_field(entry, value) for value in getattr(message, entry.name)]
    return row


def _field(entry: Any, value: Any) -> Any:
    if entry.message_type is not None:
        if entry.message_type.full_name == "google.protobuf.Timestamp":
            return value.ToDatetime()
        return _fields(value)
    if entry.enum_type is not None:
        known = entry.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return value


def _is_map(entry: Any) -> bool:
    return entry.message_type is not None and bool(entry.message_type.GetOptions().map_entry)


def _column_type(entry: Any) -> pl.DataType | None:
    try:
        return _protobuf_type(entry)
    except RecursionError:  # a message that holds itself has no column type
        return None


def _protobuf_type(entry: Any) -> pl.DataType | None:
    """None for a map, which has no column type."""
    if entry.is_repeated:
        return None if _is_map(entry) else pl.List(_protobuf_single(entry))
    return _protobuf_single(entry)


def _protobuf_single(entry: Any) -> pl.DataType:
    if entry.message_type is not None:
        if entry.message_type.full_name == "google.protobuf.Timestamp":
            return pl.Datetime("us", "UTC")
        fields = {inner.name: _protobuf_type(inner) for inner in entry.message_type.fields}
        return pl.Struct({name: dtype for name, dtype in fields.items() if dtype is not None})
    if entry.type == entry.TYPE_BYTES:
        return pl.Binary()
    kinds: dict[int, pl.DataType] = {
        entry.CPPTYPE_INT32: pl.Int32(),
        entry.CPPTYPE_INT64: pl.Int64(),
        entry.CPPTYPE_UINT32: pl.UInt32(),
        entry.CPPTYPE_UINT64: pl.UInt64(),
        entry.CPPTYPE_DOUBLE: pl.Float64(),
        entry.CPPTYPE_FLOAT: pl.Float32(),
        entry.CPPTYPE_BOOL: pl.Boolean(),
        entry.CPPTYPE_ENUM: pl.String(),
        entry.CPPTYPE_STRING: pl.String(),
    }
    return kinds[entry.cpp_type]
