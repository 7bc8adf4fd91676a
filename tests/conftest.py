"""What all tests share: leak checks on every one of them, and one real cluster for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import lepton_nb as lnb

pytest_plugins = ["leaks", "pytester"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[lnb.Cluster]:
    """A real cluster of two workers; a test that breaks workers starts its own."""
    import lepton_nb as lnb

    with lnb.Cluster(workers=2) as running:
        yield running
