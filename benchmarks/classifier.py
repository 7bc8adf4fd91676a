"""How well can late flights be foreseen, and what holds the network back?

Trains the quickstart's network with dropout and weight decay, and without, for several seeds, on two splits: by time
(the test part is the last two months, as in use) and at random (its flights share hours, and with them the weather,
with training flights). Prints AUC and log loss on the training and test parts beside a logistic regression and the
training part's late rate of the carrier and hour.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from datetime import UTC, datetime

import numpy as np
import polars as pl

import lepton_nb as lnb
from lepton_nb.data.prepare import Preparation

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FEATURES = [
    *("weekday", "departure_hour", "sched_dep_time", "sched_arr_time"),
    *("carrier", "origin", "dest", "distance", "plane_age"),
    *(f"weather_{name}" for name in WEATHER),
]


def flights() -> pl.DataFrame:
    """The quickstart's table."""
    new_york = pl.col("scheduled_departure").dt.convert_time_zone("America/New_York")
    return lnb.datasets.flights(join=("weather", "planes")).with_columns(
        late=pl.col("arr_delay") >= 15,
        weekday=new_york.dt.strftime("%a"),
        departure_hour=pl.col("hour").cast(pl.String),
        plane_age=pl.col("year") - pl.col("plane_year"),
    )


def splits(table: pl.DataFrame) -> dict[str, Preparation]:
    """The same table split twice, into parts of about the same sizes."""
    midnight = {"validation": datetime(2013, 9, 1, 4, tzinfo=UTC), "test": datetime(2013, 11, 1, 4, tzinfo=UTC)}
    by_time = lnb.prepare(table, target="late", features=FEATURES, time="scheduled_departure", **midnight)
    rows = sum(len(part) for part in by_time)
    shares = {"validation": len(by_time.validation) / rows, "test": len(by_time.test) / rows}
    return {
        "by time": by_time,
        "at random": lnb.prepare(table, target="late", features=FEATURES, **shares),
    }


def measure(target: np.ndarray, answer: np.ndarray) -> tuple[float, float]:
    """AUC and log loss."""
    from sklearn.metrics import log_loss, roc_auc_score

    return float(roc_auc_score(target, answer)), float(log_loss(target, answer))


def show(name: str, found: list[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    """One line: medians over the seeds, and the range of the test AUC."""
    train_auc, train_loss, test_auc, test_loss = (
        [run[part][figure] for run in found] for part in (0, 1) for figure in (0, 1)
    )
    median = statistics.median
    print(
        f"  {name:26s} train AUC {median(train_auc):.4f}, log loss {median(train_loss):.4f};  "
        f"test AUC {median(test_auc):.4f} ({min(test_auc):.4f} to {max(test_auc):.4f}), "
        f"log loss {median(test_loss):.4f} ({min(test_loss):.4f} to {max(test_loss):.4f})",
        flush=True,
    )


def main() -> None:
    """Train and print."""
    from sklearn.linear_model import LogisticRegression

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    print(f"on {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {options.seeds} seeds")
    with lnb.Cluster(workers=2) as cluster:
        for split, parts in splits(flights()).items():
            train, validation, test = parts
            late = [f"{part.target_values.mean():.3f}" for part in parts]
            print(f"split {split}: late rates {late[0]} (training), {late[1]} (validation), {late[2]} (test)")
            rates = train.rows.group_by("carrier", "hour").agg(rate=pl.col("late").mean())
            overall = float(train.target_values.mean())
            table = [
                part.rows.join(rates, on=["carrier", "hour"], how="left", maintain_order="left")["rate"]
                .fill_null(overall)
                .to_numpy()
                for part in (train, test)
            ]
            targets = (train.target_values, test.target_values)
            show("rate of carrier and hour", [tuple(map(measure, targets, table))])
            regression = LogisticRegression(max_iter=200).fit(train.features, train.target_values)
            answers = [regression.predict_proba(part.features)[:, 1] for part in (train, test)]
            show("logistic regression", [tuple(map(measure, targets, answers))])
            for dropout, weight_decay in ((0.5, 1e-3), (0.0, 0.0)):
                found = []
                for seed in range(options.seeds):
                    run = lnb.train(
                        lnb.models.mlp(hidden=(128, 64), dropout=dropout),
                        train,
                        validation=validation,
                        workers=2,
                        epochs=options.epochs,
                        batch_size=4096,
                        weight_decay=weight_decay,
                        seed=seed,
                        cluster=cluster,
                    ).wait()
                    found.append(tuple(map(measure, targets, (run.predict(train), run.predict(test)))))
                show(f"network, {'regularised' if dropout else 'not regularised'}", found)


if __name__ == "__main__":
    main()
