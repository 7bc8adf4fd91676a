"""A table into a file that a user names: there whole or not at all, and never over another one unasked."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

import polars as pl

from lepton_nb.errors import DataError
from lepton_nb.files import sync

ENDINGS = (".parquet", ".csv")


def save_table(table: pl.DataFrame, path: str | os.PathLike[str], *, replace: bool = False) -> Path:
    """Write `table` to a Parquet or CSV file, told by the ending of its name; returns where it is.

    The file shows under its name only once it is whole and on the disk. replace: also over a file that is there.
    Raises DataError where there is one already, the folder is not there, the name ends otherwise, CSV cannot hold a
    column, or the file cannot be written.
    """
    file = Path(os.path.abspath(os.path.expanduser(path))) if os.fspath(path).strip() else None
    if file is None or file.suffix.lower() not in ENDINGS:
        raise DataError(f"give a file name that ends in .parquet or .csv, not {os.fspath(path)!r}")
    if file.is_dir():
        raise DataError(f"{file} is a folder; give a file name in it, such as {file / 'windows.parquet'}")
    if not file.parent.is_dir():
        raise DataError(f"there is no folder {file.parent}; make it first, or give another path", path=str(file))
    if file.exists() and not replace:
        raise _taken(file)
    csv = file.suffix.lower() == ".csv"
    if csv:
        _check_flat(table)
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
    try:
        table.write_csv(unfinished) if csv else table.write_parquet(unfinished)
        sync(unfinished)
        if replace:
            os.replace(unfinished, file)
        else:
            _link(unfinished, file)
        sync(file.parent)
    except FileExistsError as error:
        raise _taken(file) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} cannot be written: {error}; make room or give another path", path=str(file)) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return file


def _link(unfinished: Path, file: Path) -> None:
    """Give the file its name, unless another program has taken that since: a rename would write over it."""
    try:
        os.link(unfinished, file)
    except FileExistsError:
        raise
    except OSError:
        # Not every file system has links. So the name is taken first, by an empty file.
        with file.open("x"):
            os.replace(unfinished, file)


def _taken(file: Path) -> DataError:
    return DataError(f"{file} is there already; give another name, or ask for it to be replaced", path=str(file))


def _check_flat(table: pl.DataFrame) -> None:
    for name, dtype in table.schema.items():
        if dtype.is_nested() or dtype == pl.Object:
            raise DataError(
                f"CSV has no place for column {name!r}, which is {dtype}; write Parquet instead", column=name
            )
