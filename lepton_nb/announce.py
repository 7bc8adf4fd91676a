"""What a run tells the report around it: files that it read, its seeds, its cluster. Outside of a report: nothing."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

VARIABLE = "LEPTON_NB_FACTS"


def announce(kind: str, **facts: Any) -> None:
    """Append one fact to the file that VARIABLE names. Never raises: a run does not fail because nobody listens."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    with contextlib.suppress(OSError, TypeError, ValueError):
        line = json.dumps({"kind": kind, **facts})
        # One write of one line to a file opened for appending: ranks and workers may tell at the same time.
        with open(path, "ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


def read_file(path: str | os.PathLike[str]) -> None:
    """Tell of a file, or of a URL, that was read."""
    if not os.environ.get(VARIABLE):
        return
    text = os.fspath(path)
    if "://" in text:
        announce("url", url=text)
    else:
        announce("read", path=os.path.abspath(text))


def seed(name: str, value: int) -> None:
    """Tell of a seed, under the name of what drew from it."""
    announce("seed", name=name, value=value)
