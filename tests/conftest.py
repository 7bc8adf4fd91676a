"""What all tests share: leak checks on every one of them, and one real cluster for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import lepton_nb as lnb

# Tests assert behaviour, never time: these machines are shared.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["leaks", "pytester"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[lnb.Cluster]:
    """A real cluster of two workers; a test that breaks workers starts its own."""
    import lepton_nb as lnb

    with lnb.Cluster(workers=2) as running:
        yield running
