"""The two steps of a micro-batch, as functions that run here or on a worker and can be run again.

`scan` reads a part of the source and pre-aggregates it, divided by key into shards; it keeps nothing. `step` merges
what came for one shard into its open windows and moves the watermark; it reads the state that the batch before left
in the checkpoint folder, and leaves its own there. A worker that did the step before has that state in memory still.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import arrivals, batch, blobs, kinds
from lepton_nb.windowing.assign import Sessions
from lepton_nb.windowing.checkpoint import replace_file, state_file
from lepton_nb.windowing.clocks import RowClock
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.programs import Bound
from lepton_nb.windowing.shards import divided
from lepton_nb.windowing.slices import key_names
from lepton_nb.windowing.sources.base import Part
from lepton_nb.windowing.spec import END, START
from lepton_nb.windowing.stores.base import Emitted, Store


@dataclass(frozen=True)
class Scanned:
    """What a part held, but for what `step` takes. earliest, latest: ticks of its rows."""

    channel: str
    side: int
    rows: int
    earliest: int | None
    latest: int | None
    late: pl.DataFrame
    aside: pl.DataFrame
    dead: pl.DataFrame


@dataclass(frozen=True)
class Piece:
    """What a part holds for one shard: partial results, and rows for which the order of arrival matters."""

    side: int
    table: pl.DataFrame
    contested: pl.DataFrame


@dataclass(frozen=True)
class Stepped:
    """What a shard gave, the rows that turned out to be late, and the size of its state."""

    rows: pl.DataFrame
    retracted: pl.DataFrame
    late: pl.DataFrame | None
    state_rows: int
    state_bytes: int


TURN = "turn:"

# The stores that this process has in memory, by folder and shard, each with the batch after which it stands.
_warm: dict[tuple[str, int], tuple[int, Store]] = {}


def scan(part: Part, bound: Bound, clock: RowClock, shards: int) -> tuple[Scanned, list[Piece]]:
    """Read a part, and cut what it holds into `shards` pieces by key."""
    read = part.read()
    side = side_of(part)
    plan = bound.plans[side]
    batch.check_types(read.frame.schema, plan)
    arrived = arrivals.sort_out(read.frame, plan, clock)
    needed = [named(column) for column in plan.columns]
    contested = arrived.contested.select(*needed, arrivals.MET, arrivals.SUSPECT)
    tables = divided(_scanned(arrived.on_time, plan), key_names(plan), shards)
    pieces = [
        Piece(side, table, rows) for table, rows in zip(tables, divided(contested, plan.keys, shards), strict=True)
    ]
    late, aside = arrived.late.select(needed), arrived.aside.select(needed)
    edges = (arrived.earliest, arrived.latest)
    return Scanned(part.channel, side, read.frame.height, *edges, late, aside, read.dead), pieces


def side_of(part: Part) -> int:
    """The side of a join that a part belongs to; 0 without a join."""
    return int(getattr(part, "side", 0))


def step(
    folder: Path,
    number: int,
    shard: int,
    shards: int,
    pieces: Sequence[Piece],
    watermark: int | None,
    bound: Bound,
    durable: bool,
) -> Stepped:
    """Do batch `number` for one of `shards` shards."""
    store = _store(folder, number - 1, shard, shards, bound)
    emitted = [bound.absorb(store, [(piece.side, piece.table) for piece in pieces])]
    late: list[pl.DataFrame] = []
    for level, rows in _stages(pieces, bound):
        if level is not None:
            emitted.append(store.advance(level))
        emitted.append(bound.absorb(store, [(side, _scanned(frame, bound.plans[side])) for side, frame in rows]))
        found = emitted[-1].late
        if found is not None:
            late += [arrivals.late_in(frame, found, bound.plans[side]) for side, frame in rows]
    if watermark is not None:
        emitted.append(store.advance(watermark))
    save(store, folder, number, shard, shards, durable=durable)
    _warm[str(folder), shard] = (number, store)
    retracted = pl.concat([one.retracted for one in emitted])
    late_rows = pl.concat(late).drop(arrivals.MET, arrivals.SUSPECT) if late else None
    return Stepped(_latest(emitted, bound), retracted, late_rows, store.rows, store.memory_bytes)


def _scanned(rows: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Partial results of rows that have a time and a key."""
    kind = kinds.of(plan)
    return kind.split_aside(batch.ours(lambda: kind.scan(rows, plan)), plan)[0]


def _stages(pieces: Sequence[Piece], bound: Bound) -> Iterator[tuple[int | None, list[tuple[int, pl.DataFrame]]]]:
    """Contested rows in stages: the watermark to move on to first (None: not yet), and the rows that then come in.

    Rows that met the same watermark come in together, but for sessions, where a row that may be late is judged by what
    came before it.
    """
    contested = [(piece.side, piece.contested) for piece in pieces if piece.contested.height]
    if not contested:
        return
    met = pl.col(arrivals.MET)
    suspects = pl.concat([rows.filter(arrivals.SUSPECT).select(met) for _, rows in contested])
    levels: list[int | None] = [None, *suspects.to_series().unique().sort().to_list()]
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        from_here = pl.lit(True) if level is None else met.is_not_null() & (met >= level)
        # Before the first rows of a stream there is no watermark to meet.
        before_next = pl.lit(True) if following is None else met.is_null() | (met < following)
        stage = [(side, rows.filter(from_here & before_next)) for side, rows in contested]
        stage = [(side, rows) for side, rows in stage if rows.height]
        if isinstance(bound.plans[0].layout, Sessions) and stage:
            for rows in _in_turn(pl.concat([rows for _, rows in stage]), bound.plans[0]):
                yield level, [(0, rows)]
        else:
            yield level, stage


def _in_turn(rows: pl.DataFrame, plan: Plan) -> list[pl.DataFrame]:
    """Rows in turns such that, within each key, every suspect comes alone and after all that came before it."""
    suspect = pl.col(arrivals.SUSPECT).cast(pl.Int64)
    before = suspect.cum_sum().over([named(key) for key in plan.keys]) if plan.keys else suspect.cum_sum()
    turns = rows.with_columns((2 * before - suspect).alias(TURN)).partition_by(TURN, as_dict=True, include_key=False)
    return [turns[turn] for turn in sorted(turns)]


def _latest(emitted: Sequence[Emitted], bound: Bound) -> pl.DataFrame:
    """The rows of all, but for windows that a later one gives again or takes back; sorted by key, then window."""
    windows = [*bound.keys, START, END]
    found = emitted[0].rows
    for one in emitted[1:]:
        if found.height and (one.rows.height or one.retracted.height):
            replaced = pl.concat([one.rows.select(windows), one.retracted.select(windows)]).unique()
            found = found.join(replaced, on=windows, how="anti", nulls_equal=True, maintain_order="left")
        if found.height and one.rows.height:
            found = pl.concat([found, one.rows]).sort(windows, maintain_order=True)
        elif one.rows.height:
            found = one.rows
    return found


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
