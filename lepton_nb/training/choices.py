"""What rows there are to train on: what a table, prepared parts or arrays offer, and the parts a training needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from lepton_nb.data.frames import eager, lazy, schema
from lepton_nb.data.prepare import Preparation, prepare
from lepton_nb.data.prepare_stream import StreamedPreparation
from lepton_nb.data.prepared_stream import PreparedStream
from lepton_nb.data.transform import TEXT, Prepared, is_number
from lepton_nb.errors import TrainingError
from lepton_nb.training.array_rows import is_array, is_pair
from lepton_nb.training.spec import Task

# Whole numbers with more different values than these are taken for numbers, not for classes.
MOST_CLASSES = 20


class Parts(NamedTuple):
    """What a training is given: rows to learn from, perhaps rows to validate and to test, and the target's column."""

    train: Any
    validation: Any
    test: Any
    target: str | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be chosen of some data.

    kind: "parts" (what `lnb.prepare` returned), "prepared" (one part of it), "arrays" (features and target), or
    "table". columns: of a table, by name; target: the column that is learnt where that is settled.
    """

    kind: Literal["parts", "prepared", "arrays", "table"]
    columns: dict[str, pl.DataType]
    target: str | None

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns of a table that can be learnt: booleans, then numbers, then text, which names classes."""
        found = [name for name, dtype in self.columns.items() if is_number(dtype) or isinstance(dtype, TEXT)]
        return tuple(
            sorted(found, key=lambda name: (isinstance(self.columns[name], TEXT), self.columns[name] != pl.Boolean))
        )

    @property
    def times(self) -> tuple[str, ...]:
        """The columns of a table by which it can be split."""
        return tuple(name for name, dtype in self.columns.items() if isinstance(dtype, pl.Datetime | pl.Date))

    def features(self, target: str | None) -> tuple[str, ...]:
        """The columns of a table that can be learnt from, for a target."""
        return tuple(name for name in self.columns if name in self.targets and name != target)


def look(data: Any) -> Offer:
    """What `data` offers. Raises DataError for what is no table, and for files that cannot be read."""
    if isinstance(data, Preparation | StreamedPreparation):
        return Offer("parts", {}, data.train.target)
    if isinstance(data, Prepared | PreparedStream):
        return Offer("prepared", {}, data.target)
    if is_pair(data) or is_array(data):
        return Offer("arrays", {}, None)
    return Offer("table", dict(schema(lazy(data))), None)


def parts(
    data: Any,
    *,
    target: str | None = None,
    features: Sequence[str] = (),
    prepared: bool = True,
    time: str | None = None,
    validation: Any = None,
    test: Any = None,
    seed: int = 0,
) -> Parts:
    """The parts of `data` that a training takes.

    Of a table: the columns `features` (none: all that can be) are learnt from. If `prepared`, `lnb.prepare` cleans
    and splits it, by `time` if given; validation and test are then shares of the rows (0.1 and 0.2 by default). Else
    the table is taken as it is, and validation and test are other rows of its kind, or None.
    Raises DataError and TrainingError as `lnb.prepare` and `lnb.train` do.
    """
    offer = look(data)
    if offer.kind == "parts":
        return Parts(data.train, data.validation, data.test, None)
    if offer.kind != "table":
        return Parts(data, validation, test, None)
    if target is None:
        raise TrainingError("which column is to be learnt? choose the target")
    if target not in offer.columns:
        raise TrainingError.unknown("target column", target, offer.columns)
    chosen = [name for name in features or offer.features(target) if name not in (target, time)]
    if prepared:
        given = (("validation", validation), ("test", test))
        shares: dict[str, Any] = {name: share for name, share in given if share is not None}
        made = prepare(data, target=target, features=chosen, time=time, seed=seed, **shares)
        return Parts(made.train, made.validation, made.test, None)
    table = eager(data, [*chosen, target])
    return Parts(table, validation, test, target)


def likely_task(train: Any, target: str | None) -> tuple[Task, int | None]:
    """What a target looks like: the task, and the number of classes of a "multiclass" one.

    train: rows as of `Parts`. 0 and 1 are "binary", few whole numbers from 0 on "multiclass", all else "regression".
    """
    if isinstance(train, PreparedStream):
        train, target = [file.path for file in train.groups.files], train.target
    if isinstance(train, Prepared):
        values = pl.Series(train.target_values)
    elif is_pair(train):
        values = pl.Series(np.asarray(train[1]).reshape(-1))
    elif target is not None:
        values = eager(train, [target])[target].alias("target")
    else:
        return "regression", None
    if isinstance(values.dtype, TEXT):
        count = values.n_unique() - (values.null_count() > 0)
        return ("multiclass", count) if count > 2 else ("binary", None)
    found = values.drop_nulls().unique().cast(pl.Float64, strict=False).drop_nulls()
    if found.is_in([0.0, 1.0]).all():
        return "binary", None
    highest = float(found.max() or 0)  # type: ignore[arg-type]
    whole = bool((found == found.floor()).all()) and found.min() == 0
    if whole and highest < MOST_CLASSES and found.len() == highest + 1:
        return "multiclass", int(highest) + 1
    return "regression", None
