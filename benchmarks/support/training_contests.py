"""Step times and rates of training, ours against others, in turns."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from support import machine, training_models
from support.contest import Targets
from support.training_turns import Ours, Party, Peer, Taken, ratios, show, take_slices

import lepton_nb as lnb

SMALL, LARGE = 256, 4096


@dataclass(frozen=True)
class Setting:
    """What all contests share. folder: features.npy and target.npy; rows: the same."""

    folder: Path
    rows: tuple[Any, Any]
    validation: tuple[Any, Any]
    rounds: int
    slice_s: float


def flights() -> tuple[lnb.data.Prepared, lnb.data.Prepared]:
    """The training and the validation part of the quickstart."""
    table = lnb.datasets.flights(join=("weather", "planes"))
    new_york = pl.col("scheduled_departure").dt.convert_time_zone("America/New_York")
    table = table.with_columns(
        late=pl.col("arr_delay") >= 15,
        weekday=new_york.dt.strftime("%a"),
        departure_hour=pl.col("hour").cast(pl.String),
        plane_age=pl.col("year") - pl.col("plane_year"),
    )
    weather = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    train, validation, _ = lnb.prepare(
        table,
        target="late",
        time="scheduled_departure",
        features=[
            *("weekday", "departure_hour", "sched_dep_time", "sched_arr_time"),
            *("carrier", "origin", "dest", "distance", "plane_age"),
            *(f"weather_{name}" for name in weather),
        ],
        validation=datetime(2013, 9, 1, 4, tzinfo=UTC),
        test=datetime(2013, 11, 1, 4, tzinfo=UTC),
    )
    return train, validation


def setting(folder: Path, rounds: int, slice_s: float) -> Setting:
    """The flights, in memory and in `folder`."""
    train, validation = flights()
    rows = (train.features, train.target_values)
    for name, values in zip(("features", "target"), rows, strict=True):
        np.save(folder / f"{name}.npy", values)
    print(f"{len(rows[0]):,} flights, {rows[0].shape[1]} features, a perceptron 128-64-1, Adam, float32")
    return Setting(folder, rows, (validation.features, validation.target_values), rounds, slice_s)


@contextlib.contextmanager
def parties(make: Mapping[str, Callable[[], Party]]) -> Iterator[dict[str, Party]]:
    """All of them started and held, and ended at the end."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, maker in make.items():
            found[name] = maker()
            stack.callback(found[name].end)
        yield found


def contest(
    what: str,
    make: Mapping[str, Callable[[], Party]],
    at: Setting,
    batch: int,
    ours: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    turns: int = 1,
) -> dict[str, Taken]:
    """Rates of all; for every round they are started anew, as some starts are luckier than others.

    groups: which parties go at once and are added up, by the name to show; each goes alone where it is not given.
    turns: of each, for every start; more of them tell smaller differences.
    """
    print(f"\n{what}, {machine.load()}")
    groups = groups or {name: [name] for name in make}
    rates = {name: Taken([], []) for name in groups}
    for _ in range(at.rounds):
        with parties(make) as found:
            together = {name: [found[party] for party in group] for name, group in groups.items()}
            for name, taken in take_slices(together, turns, at.slice_s).items():
                rates[name].rates.extend(taken.rates)
                rates[name].core_s.extend(taken.core_s)
    show(rates, batch, ours)
    return rates


def median_of_ratios(rates: Mapping[str, Taken], name: str, other: str) -> float:
    """Rates of `name` over those of `other`, round by round, of which the median; says their range."""
    found = ratios(rates, name, other)
    print(f"  {name} / {other}, round by round: {statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})")
    return statistics.median(found)


def step(at: Setting, targets: Targets) -> None:
    """Two ranks against torchrun with DistributedDataParallel."""
    with lnb.Cluster(workers=2) as cluster:
        for batch in (LARGE, SMALL):
            make = {
                "ours": lambda batch=batch: Ours(cluster, lnb.models.mlp(), at.rows, batch=batch, workers=2),
                "bare torchrun, DDP, sliced": lambda batch=batch: Peer.started("sliced", at.folder, batch, ranks=2),
            }
            rates = contest(f"two ranks, batch {batch:,}", make, at, batch, "ours")
            found = median_of_ratios(rates, "bare torchrun, DDP, sliced", "ours")
            targets.at_most(f"step time over bare torchrun, batch {batch:,}:", found, 1.02)


def keras(at: Setting, targets: Targets) -> None:
    """Two ranks against a bare script with TensorFlow's strategy."""
    model = lnb.models.mlp(framework="keras")
    with lnb.Cluster(workers=2) as cluster:
        for batch in (LARGE, SMALL):
            make = {
                "ours": lambda batch=batch: Ours(cluster, model, at.rows, batch=batch, workers=2),
                "bare strategy script": lambda batch=batch: Peer.started("keras_ranks", at.folder, batch, ranks=2),
            }
            rates = contest(f"two ranks of TensorFlow, batch {batch:,}", make, at, batch, "ours")
            found = median_of_ratios(rates, "bare strategy script", "ours")
            targets.at_most(f"step time over the bare strategy script, batch {batch:,}:", found, 1.05)


def metrics(at: Setting, targets: Targets) -> None:
    """Two ranks that tell every step and validate with metrics, against two that tell nothing."""
    loud = {"log_every_steps": 1, "validation": at.validation, "metrics": ("auc", "f1")}
    with lnb.Cluster(workers=2) as one, lnb.Cluster(workers=2) as other:
        for batch in (LARGE, SMALL):

            def ours(cluster: lnb.Cluster, batch: int = batch, **options: Any) -> Ours:
                return Ours(cluster, lnb.models.mlp(), at.rows, batch=batch, by_epoch=True, workers=2, **options)

            make = {
                "every step told, validation metrics": lambda ours=ours: ours(one, **loud),
                "nothing told": lambda ours=ours: ours(other, log_every_steps=10**9),
            }
            rates = contest(f"metrics and events, batch {batch:,}", make, at, batch, "nothing told", turns=4)
            found = median_of_ratios(rates, "nothing told", "every step told, validation metrics")
            targets.at_most(f"step time with metrics and events on over off, batch {batch:,}:", found, 1.01)


def rates_of_flights(at: Setting, targets: Targets) -> None:
    """Rows a second against Lightning and a DataLoader."""
    for batch, workers, least in ((LARGE, 2, 4.0), (SMALL, 1, 2.0)):
        ours = f"ours, {workers} rank{'s' * (workers > 1)}"
        with lnb.Cluster(workers=workers) as cluster:
            make: dict[str, Callable[[], Party]] = {
                ours: lambda cluster=cluster, batch=batch, workers=workers: Ours(
                    cluster, lnb.models.mlp(), at.rows, batch=batch, workers=workers
                )
            }
            for kind, name in (("lightning", "Lightning"), ("loader", "DataLoader loop"), ("sliced", "sliced loop")):
                make[f"{name}, 1 process"] = lambda kind=kind, batch=batch: Peer.started(kind, at.folder, batch)
                if workers == 2:
                    make[f"{name}, 2 ranks of torchrun"] = lambda kind=kind, batch=batch: Peer.started(
                        kind, at.folder, batch, ranks=2
                    )
            rates = contest(f"flights, batch {batch:,}", make, at, batch, ours)
        for name in ("Lightning", "DataLoader loop"):
            found = median_of_ratios(rates, ours, f"{name}, 1 process")
            targets.at_least(f"rows a second, {ours}, over a {name}, batch {batch:,}:", found, least)
            if workers == 2:
                median_of_ratios(rates, ours, f"{name}, 2 ranks of torchrun")


def compiled(at: Setting, targets: Targets) -> None:
    """torch.compile's step against the eager one; no target, as it is a choice to be made."""
    print(f"\na compiled step, one process, batch {SMALL}, {machine.load()}")
    make = {
        "eager": lambda: Peer.started("sliced", at.folder, SMALL),
        "torch.compile": lambda: Peer.started("sliced", at.folder, SMALL, "compiled"),
    }
    with parties(make) as found:
        rates = take_slices({name: [party] for name, party in found.items()}, at.rounds, at.slice_s)
        peer = found["torch.compile"]
        assert isinstance(peer, Peer)
        compile_s = peer.ready[0]["compile_s"]
    show(rates, SMALL, "eager")
    median_of_ratios(rates, "torch.compile", "eager")
    eager_s, compiled_s = (1 / statistics.median(rates[name].rates) for name in ("eager", "torch.compile"))
    won_s = eager_s - compiled_s
    pays = f"pays after {compile_s / won_s:,.0f} steps" if won_s > 0 else "never pays"
    print(f"  compiling took {compile_s:.1f} s, a step wins {won_s * 1e6:.0f} µs: {pays}")


def speed_up(at: Setting, targets: Targets) -> None:
    """Of two ranks over one, beside that of two runs that know nothing of each other; and the same for bare loops."""

    def ours(cluster: lnb.Cluster, workers: int = 1) -> Ours:
        return Ours(cluster, training_models.mlp_in_one_thread, at.rows, batch=LARGE, workers=workers)

    def bare() -> Peer:
        return Peer.started("sliced", at.folder, LARGE, threads=1)

    with lnb.Cluster(workers=1) as one, lnb.Cluster(workers=1) as other, lnb.Cluster(workers=2) as two:
        make: dict[str, Callable[[], Party]] = {
            "one rank": lambda: ours(one),
            "its twin": lambda: ours(other),
            "two ranks": lambda: ours(two, workers=2),
            "a bare loop": bare,
            "its bare twin": bare,
        }
        groups = {name: [name] for name in make if "twin" not in name}
        groups["two runs of one rank"] = ["one rank", "its twin"]
        groups["two bare loops"] = ["a bare loop", "its bare twin"]
        what = f"speed-up, batch {LARGE:,}, one thread a process"
        rates = contest(what, make, at, LARGE, "two ranks", groups)
    ranks = median_of_ratios(rates, "two ranks", "one rank")
    median_of_ratios(rates, "two runs of one rank", "one rank")
    loops = median_of_ratios(rates, "two bare loops", "a bare loop")
    print(f"  speed-up of two ranks over that of two bare loops: {ranks / loops:.3f}")
    # What one rank does alone cancels out of the two speed-ups.
    found = median_of_ratios(rates, "two ranks", "two runs of one rank")
    targets.at_least("speed-up of two ranks over that of two independent runs:", found, 0.85)
