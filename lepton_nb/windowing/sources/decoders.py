"""The values of messages: JSON, Avro, Protobuf, or whatever a function makes of the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import polars as pl

from lepton_nb.errors import WindowError

VALUES = ("json", "avro", "protobuf")


class Decoder(Protocol):
    """Makes objects of bytes. It travels to workers. `fault` is how a dead letter calls what cannot be read."""

    fault: ClassVar[str]

    def reader(self) -> Callable[[bytes], Any]:
        """What turns one value into an object; it raises where it cannot."""

    def types(self) -> dict[str, pl.DataType]:
        """The types of the columns, as far as the format tells them."""


@dataclass(frozen=True)
class Json:
    """UTF-8 JSON objects."""

    fault: ClassVar[str] = "not JSON"

    def reader(self) -> Callable[[bytes], Any]:
        return _json

    def types(self) -> dict[str, pl.DataType]:
        return {}


@dataclass(frozen=True)
class Calling:
    """A user's own function."""

    function: Callable[[bytes], Any]
    fault: ClassVar[str] = "the value function failed"

    def reader(self) -> Callable[[bytes], Any]:
        return self.function

    def types(self) -> dict[str, pl.DataType]:
        return {}


def decoder(value: Any, avro_schema: Any, message: Any) -> Decoder:
    """The decoder that the arguments of `kafka()` mean; WindowError where they do not go together."""
    if avro_schema is not None and value != "avro":
        raise WindowError(f"avro_schema goes with value='avro', not with value={value!r}")
    if message is not None and value != "protobuf":
        raise WindowError(f"message goes with value='protobuf', not with value={value!r}")
    if value == "json":
        return Json()
    if value == "avro":
        from lepton_nb.windowing.sources.avro_values import avro

        return avro(avro_schema)
    if value == "protobuf":
        from lepton_nb.windowing.sources.protobuf_values import protobuf

        return protobuf(message)
    if callable(value):
        return Calling(value)
    raise WindowError.unknown("value format", str(value), (*VALUES, "a function of bytes"))


def _json(value: bytes) -> Any:
    return json.loads(value.decode())
