"""Text as a target: its values are classes, numbered from 0 in the order of their names."""

from __future__ import annotations

import polars as pl

from lepton_nb.errors import DataError

# More different values are taken for text that says something, not for the names of classes.
MOST_LABELS = 1_000


def classes_of(labels: pl.Series) -> tuple[str, ...]:
    """The different values of a column of text, sorted. Raises DataError for one value only, and for very many."""
    found = _text(labels).drop_nulls().unique().sort()
    if found.len() < 2:
        raise DataError(
            f"all rows have the same value of the target {labels.name!r}, so there is nothing to learn; give rows of "
            "two classes or more",
            column=labels.name,
        )
    if found.len() > MOST_LABELS:
        raise DataError(
            f"the target {labels.name!r} has {found.len():,} different values, too many for classes; give a column "
            f"with at most {MOST_LABELS:,}",
            column=labels.name,
        )
    return tuple(found)


def numbered(labels: pl.Series, classes: tuple[str, ...]) -> pl.Series:
    """The number of each label, as Float64, null where there is none. Raises DataError for one of no class."""
    given = _text(labels)
    strange = given.filter(given.is_not_null() & ~given.is_in(list(classes)))
    if strange.len():
        raise DataError(
            f"the target {labels.name!r} holds {strange[0]!r}, which is none of the {len(classes)} classes that were "
            "prepared; leave these rows out, or prepare anew with all rows",
            column=labels.name,
        )
    return given.replace_strict(list(classes), list(range(len(classes))), default=None, return_dtype=pl.Float64)


def _text(labels: pl.Series) -> pl.Series:
    # By another name: methods of a column named "^...$" would take that for a pattern.
    return labels.alias("labels").cast(pl.String)
