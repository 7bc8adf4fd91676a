"""Brokers for the tests of windows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from brokers import Broker, running_broker
from object_store import object_store


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One broker for all tests that do not stop it; each test takes a topic of its own."""
    with running_broker() as running:
        yield running


@pytest.fixture
def lasting_broker() -> Iterator[Broker]:
    """A broker of the test's own: stopped and started again, it has all that it had."""
    with object_store() as store, running_broker(store) as running:
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def topic(broker: Broker) -> Callable[[int], str]:
    """Makes a topic with so many partitions on `broker`, and gives its name."""

    def make(partitions: int = 1) -> str:
        name = f"topic-{next(_numbers)}"
        broker.create(name, partitions)
        return name

    return make
