"""What tests of widgets share."""

from __future__ import annotations

from typing import Any

import IPython.display
import pytest


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is displayed while the test runs, in its order."""
    found: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: found.append(data))
    return found
