"""A report's entry in the ledger while it is made; a ledger that fails costs a warning, and never the report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports.ledger import Ledger


class Entry:
    """One run's entry into the ledger at `path`; None for no ledger, and then nothing is done."""

    def __init__(self, path: Path | None, id: str) -> None:
        self._ledger = None if path is None else Ledger(path)
        self._id = id
        self._is_part = False

    def begin(self, *, parent: str | None, **facts: Any) -> None:
        """As Ledger.begin."""
        self._is_part = parent is not None
        self._do(lambda ledger: ledger.begin(self._id, parent=parent, **facts))

    def end(self, status: str, metrics: Mapping[str, Any], ended: datetime | None, folder: Path | None) -> None:
        """As Ledger.end; then the page of all runs is written anew, of many runs at once not for each of them."""

        def do(ledger: Ledger) -> None:
            from lepton_nb.reports import history_page

            ledger.end(self._id, status, metrics, ended, folder=folder)
            history_page.write(ledger, lazily=self._is_part)

        self._do(do)

    def _do(self, step: Callable[[Ledger], None]) -> None:
        if self._ledger is None:
            return
        try:
            step(self._ledger)
        except (ReportError, OSError) as error:
            self._ledger = None
            warnings.warn(f"the report is made, but not in the history: {error}", RuntimeWarning, stacklevel=3)
