"""The tables that a notebook has, to choose among."""

from __future__ import annotations

from typing import Any

from lepton_nb.data.prepare import Preparation
from lepton_nb.data.prepare_stream import StreamedPreparation


def tables() -> dict[str, Any]:
    """The tables, and what `lnb.prepare` made of some, that the cells of this notebook have named."""
    from IPython import get_ipython

    shell = get_ipython()
    names = {} if shell is None else dict(shell.user_ns)
    return {name: value for name, value in names.items() if not name.startswith("_") and _is_table(value)}


def _is_table(value: Any) -> bool:
    import polars as pl

    if isinstance(value, pl.DataFrame | pl.LazyFrame | Preparation | StreamedPreparation):
        return True
    # pandas is not imported for this: who has such a table has imported it.
    kind = type(value)
    return kind.__module__.split(".")[0] == "pandas" and kind.__name__ == "DataFrame"
