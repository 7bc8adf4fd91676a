"""The two steps of a micro-batch, as functions that run here or on a worker and can be run again.

`scan` reads a part of the source and pre-aggregates it, divided by key into shards; it keeps nothing. `step` merges
what came for one shard into its open windows and moves the watermark; it reads the state that the batch before left
in the checkpoint folder, and leaves its own there. A worker that did the step before has that state in memory still.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import arrivals, batch, blobs, kinds
from lepton_nb.windowing.checkpoint import replace_file, state_file
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.programs import Bound
from lepton_nb.windowing.shards import divided
from lepton_nb.windowing.slices import key_names
from lepton_nb.windowing.sources.base import Part
from lepton_nb.windowing.stores.base import Emitted, Store


@dataclass(frozen=True)
class Scanned:
    """What a part held, but for its partial results. latest: the latest tick in it."""

    channel: str
    side: int
    rows: int
    latest: int | None
    late: pl.DataFrame
    aside: pl.DataFrame
    dead: pl.DataFrame


@dataclass(frozen=True)
class Stepped:
    """What a shard gave, and the size of its state."""

    emitted: Emitted
    state_rows: int
    state_bytes: int


# The stores that this process has in memory, by folder and shard, each with the batch after which it stands.
_warm: dict[tuple[str, int], tuple[int, Store]] = {}


def scan(part: Part, bound: Bound, watermark: int | None, shards: int) -> tuple[Scanned, list[pl.DataFrame]]:
    """Read a part; its partial results are cut into `shards` tables by key."""
    read = part.read()
    side = side_of(part)
    plan = bound.plans[side]
    batch.check_types(read.frame.schema, plan)
    arrived = arrivals.sort_out(read.frame, plan, watermark)
    kind = kinds.of(plan)
    table, _ = kind.split_aside(batch.ours(lambda: kind.scan(arrived.on_time.lazy(), plan)), plan)
    needed = [named(column) for column in plan.columns]
    late, aside = arrived.late.select(needed), arrived.aside.select(needed)
    scanned = Scanned(part.channel, side, read.frame.height, arrived.latest, late, aside, read.dead)
    return scanned, divided(table, key_names(plan), shards)


def side_of(part: Part) -> int:
    """The side of a join that a part belongs to; 0 without a join."""
    return int(getattr(part, "side", 0))


def late_rows(part: Part, late: pl.DataFrame, bound: Bound, watermark: int | None) -> pl.DataFrame:
    """The rows of a part, read again, that turned out to be in late sessions."""
    plan = bound.plans[0]
    on_time = arrivals.sort_out(part.read().frame, plan, watermark).on_time
    return arrivals.late_in(on_time.select([named(column) for column in plan.columns]), late, plan)


def step(
    folder: Path,
    number: int,
    shard: int,
    shards: int,
    sides: Sequence[int],
    tables: Sequence[pl.DataFrame],
    watermark: int | None,
    bound: Bound,
    durable: bool,
) -> Stepped:
    """Do batch `number` for one of `shards` shards; `sides` are those that the tables belong to."""
    store = _store(folder, number - 1, shard, shards, bound)
    absorbed = bound.absorb(store, list(zip(sides, tables, strict=True)))
    closed = store.advance(watermark) if watermark is not None else store.nothing()
    save(store, folder, number, shard, shards, durable=durable)
    _warm[str(folder), shard] = (number, store)
    emitted = Emitted(pl.concat([absorbed.rows, closed.rows]), absorbed.retracted, absorbed.late)
    return Stepped(emitted, store.rows, store.memory_bytes)


def save(store: Store, folder: Path, number: int, shard: int, shards: int, *, durable: bool) -> None:
    """Leave a shard's state after a batch in the checkpoint folder."""
    content = blobs.packed({"watermark": store.watermark}, store.dump())
    # A step whose worker was given up may still be running beside its second try.
    replace_file(state_file(folder, number, shard, shards), content, durable=durable, writer=uuid.uuid4().hex)


def load(folder: Path, number: int, shard: int, shards: int, bound: Bound) -> Store:
    """A shard's state after a batch. Raises WindowError where it is missing or damaged."""
    store = bound.new_store()
    file = state_file(folder, number, shard, shards)
    try:
        header, tables = blobs.unpacked(file.read_bytes())
    except FileNotFoundError as error:
        raise WindowError(
            f"the state {file} is missing; on a cluster, every worker must see the checkpoint folder "
            "under the same path",
            path=str(file),
        ) from error
    store.load(tables, header["watermark"])
    return store


def forget(folder: Path) -> None:
    """Let go of what this process holds in memory for a stream."""
    for key in [key for key in _warm if key[0] == str(folder)]:
        del _warm[key]


def _store(folder: Path, number: int, shard: int, shards: int, bound: Bound) -> Store:
    warm = _warm.pop((str(folder), shard), None)
    # Taken out while it changes: a step that fails half way leaves nothing behind but the file of the batch before.
    if warm is not None and warm[0] == number:
        return warm[1]
    return load(folder, number, shard, shards, bound) if number else bound.new_store()


def divide_anew(folder: Path, number: int, bound: Bound, before: int, shards: int, *, durable: bool) -> None:
    """Bring the state after a batch from `before` shards to `shards`: keys move with their windows."""
    stores = [load(folder, number, shard, before, bound) for shard in range(before)]
    watermark = stores[0].watermark if stores else None
    names = {name for store in stores for name in store.dump()}
    whole = {name: pl.concat([s.dump()[name] for s in stores if name in s.dump()]) for name in names}
    pieces = {name: divided(table, bound.key_columns(name), shards) for name, table in whole.items()}
    for shard in range(shards):
        store = bound.new_store()
        store.load({name: tables[shard] for name, tables in pieces.items()}, watermark)
        save(store, folder, number, shard, shards, durable=durable)
