"""Messages to rows: each value is read for itself, and one that cannot be read becomes a dead letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, overload

import polars as pl

from lepton_nb.windowing.sources.base import Rows
from lepton_nb.windowing.sources.decoders import Decoder
from lepton_nb.windowing.sources.values import dead, typed

T = TypeVar("T")

# Dead letters keep so much of a value, and of a reason.
VALUE_CHARACTERS = 10_000
REASON_CHARACTERS = 300


def rows_of(
    values: Sequence[bytes | None],
    offsets: Sequence[int | None],
    channel: str,
    schema: Mapping[str, pl.DataType],
    decoder: Decoder,
    required: Sequence[str],
) -> Rows:
    """The values of messages as rows and dead letters, both in the order of their offsets."""
    read = decoder.reader()
    objects, kept, faults = [], [], dict[int, str]()
    for i, value in enumerate(values):
        if value is None:
            faults[i] = "no value"
            continue
        try:
            objects.append(read(value))
        except Exception as error:  # whatever a decoder or a user's function raises, it concerns this message alone
            faults[i] = f"{decoder.fault}: {error or type(error).__name__}"[:REASON_CHARACTERS]
        else:
            kept.append(i)
    rows = typed(
        objects,
        _Lazily(len(kept), lambda i: _text(values[kept[i]])),
        _Lazily(len(kept), lambda i: str(offsets[kept[i]])),
        channel,
        schema,
        required,
    )
    if not faults:
        return rows
    places = [str(offsets[i]) for i in faults]
    unread = dead([channel] * len(faults), places, list(faults.values()), [_text(values[i]) for i in faults])
    return Rows(rows.frame, pl.concat([rows.dead, unread]).sort(pl.col("offset").cast(pl.Int64)))


class _Lazily(Sequence[T]):
    """Items that are made when they are asked for: few messages become dead letters."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            return [self._make(i) for i in range(self._count)[at]]
        return self._make(range(self._count)[at])


def _text(value: bytes | None) -> str:
    return (value or b"")[: 4 * VALUE_CHARACTERS].decode(errors="replace")[:VALUE_CHARACTERS]
