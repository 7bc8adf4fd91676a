"""Outputs without what differs from run to run: counts, identifiers, addresses, and the time of the run itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from lepton_nb.reports.outputs import WIDGET
from lepton_nb.reports.terminal import settle

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|\b[0-9a-f]{32}\b")
_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)[T _]\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")
# Keys of a bundle, or of a figure in it, that are made anew each time.
_MADE_ANEW = ("uid", "model_id")


def days_of(started: datetime, ended: datetime) -> frozenset[str]:
    """The days of a run, and those around it, for a machine may write times of another zone: "2026-11-27"."""
    first, last = started.date() - timedelta(days=1), ended.date() + timedelta(days=1)
    return frozenset((first + timedelta(days=day)).isoformat() for day in range((last - first).days + 1))


def steady(outputs: Collection[Any], days: Collection[str]) -> list[dict[str, Any]]:
    """What a cell put out, without volatile fields. `days` are those of the run: moments in them are its own.

    What was printed on stderr is left out: warnings and bars of progress, which tell of paths and of durations. Pieces
    of a stream are put together, for where it is cut is chance.
    """
    found: list[dict[str, Any]] = []
    printed: list[str] = []

    def flush() -> None:
        if printed:
            found.append({"printed": _text(settle("".join(printed)), days)})
            printed.clear()

    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                printed.append("".join(output["text"]))
            continue
        flush()
        if output["output_type"] == "error":
            found.append({"error": output["ename"], "message": _text(str(output["evalue"]), days)})
        else:
            data = {kind: _value(value, days) for kind, value in output["data"].items() if kind != WIDGET}
            if data:
                found.append({"data": data})
    flush()
    return found


def sha256(outputs: Collection[Any], days: Collection[str]) -> str:
    """The SHA-256 of what is steady in a cell's outputs."""
    return hashlib.sha256(json.dumps(steady(outputs, days), sort_keys=True).encode()).hexdigest()


def _value(value: Any, days: Collection[str]) -> Any:
    if isinstance(value, str):
        return _text(value, days)
    if isinstance(value, Mapping):
        return {key: _value(item, days) for key, item in value.items() if key not in _MADE_ANEW}
    return [_value(item, days) for item in value] if isinstance(value, list | tuple) else value


def _text(text: str, days: Collection[str]) -> str:
    if len(text) > 6 and ("0x" in text or "-" in text or len(text) >= 32):
        text = _UUID.sub("<id>", _ADDRESS.sub("<address>", text))
        text = _TIME.sub(lambda match: "<time>" if match[1] in days else match[0], text)
    return text
