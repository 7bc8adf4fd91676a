"""The three streams of the Nexmark benchmark: people who join an auction house, auctions they open, bids they make.

After P. Tucker, K. Tufte, V. Papadimos and D. Maier, "NEXMark: A Benchmark for Queries over Data Streams" (2002, draft
of 2008), with the proportions, ratios and defaults that Apache Beam's and Apache Flink's Nexmark suites use.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.data.columns import UTC_TIME, Column
from lepton_nb.errors import DataError

# Of every 50 events the first is a person, the next three are auctions, the others are bids.
PERSONS, AUCTIONS, ROUND = 1, 3, 50
# Share of what goes to hot ones: auctions by the hot seller, bids on the hot auction, bids by the hot bidder.
HOT_SELLER, HOT_AUCTION, HOT_BIDDER = 0.75, 0.5, 0.75
# One in so many people or auctions is hot for a while.
HOT_EVERY = 100
# Among how many of the latest the others are drawn.
ACTIVE_PEOPLE, OPEN_AUCTIONS = 1000, 100
FIRST_ID, FIRST_CATEGORY, CATEGORIES = 1000, 10, 5
# Share of events that arrive late, and the longest delay.
DELAYED, LONGEST_DELAY_MS = 0.1, 3000
LONGEST_S = 100 * 365 * 86_400
START = datetime(2015, 7, 15, tzinfo=UTC)

PERSON_COLUMNS = (
    Column("id", pl.Int64, "", "number of the person, from 1000 on"),
    Column("name", pl.String, "", "first and last name"),
    Column("email", pl.String, "", "address at example.com"),
    Column("city", pl.String, "", "city in the western United States"),
    Column("state", pl.String, "", "its state, two letters"),
    Column("date_time", UTC_TIME, "", "when the person joined, UTC: the event time"),
    Column("arrival", UTC_TIME, "", "when the event arrived, UTC; up to 3 s later"),
)
AUCTION_COLUMNS = (
    Column("id", pl.Int64, "", "number of the auction, from 1000 on"),
    Column("item_name", pl.String, "", "what is for sale"),
    Column("initial_bid", pl.Int64, "cents", "lowest bid"),
    Column("reserve", pl.Int64, "cents", "price below which the item is not sold"),
    Column("date_time", UTC_TIME, "", "when the auction opened, UTC: the event time"),
    Column("expires", UTC_TIME, "", "when it closes, UTC"),
    Column("seller", pl.Int64, "", "id of the person who sells"),
    Column("category", pl.Int64, "", "10 to 14"),
    Column("arrival", UTC_TIME, "", "when the event arrived, UTC; up to 3 s later"),
)
BID_COLUMNS = (
    Column("auction", pl.Int64, "", "id of the auction"),
    Column("bidder", pl.Int64, "", "id of the person who bids"),
    Column("price", pl.Int64, "cents", "the bid"),
    Column("date_time", UTC_TIME, "", "when the bid was made, UTC: the event time"),
    Column("arrival", UTC_TIME, "", "when the event arrived, UTC; up to 3 s later"),
)

_FIRST_NAMES = ("Ada", "Bruno", "Clara", "Dmitri", "Elena", "Felix", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Leo")
_LAST_NAMES = ("Adler", "Brandt", "Castro", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ito", "Jensen")
_PLACES = (
    ("Tucson", "AZ"), ("Flagstaff", "AZ"), ("Oakland", "CA"), ("San Diego", "CA"), ("Boise", "ID"), ("Moscow", "ID"),
    ("Eugene", "OR"), ("Salem", "OR"), ("Spokane", "WA"), ("Tacoma", "WA"), ("Casper", "WY"), ("Laramie", "WY"),
)  # fmt: skip
_KINDS = ("antique", "blue", "carved", "folding", "heavy", "old", "painted", "rare", "small", "wooden")
_THINGS = ("atlas", "bicycle", "chair", "clock", "coin", "guitar", "lamp", "mirror", "stamp", "table", "vase", "watch")

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Nexmark(NamedTuple):
    """The three streams, each in order of event time."""

    persons: pl.DataFrame
    auctions: pl.DataFrame
    bids: pl.DataFrame


def generate(events: int, rate: float, seed: int) -> Nexmark:
    """See `lepton_nb.datasets.nexmark`."""
    _check(events, rate, seed)
    number = np.arange(events, dtype=np.int64)
    place = number % ROUND
    kinds = (place < PERSONS, (place >= PERSONS) & (place < PERSONS + AUCTIONS), place >= PERSONS + AUCTIONS)
    seeds = np.random.SeedSequence(seed).spawn(len(kinds))
    person, auction, bid = (_Events(number[kind], rate, child) for kind, child in zip(kinds, seeds, strict=True))
    return Nexmark(_persons(person), _auctions(auction, rate), _bids(bid))


class _Events:
    """The events of one kind: their numbers, times, and a source of chance for each column."""

    def __init__(self, number: Integers, rate: float, seed: np.random.SeedSequence) -> None:
        self.number = number
        self.time_us = np.floor(number * 1e6 / rate).astype(np.int64) + _microseconds(START)
        self._seed = seed
        delayed = self.chance() < DELAYED
        self.arrival_us = self.time_us + np.where(delayed, 1 + self.below(LONGEST_DELAY_MS), 0) * 1000
        rounds, place = np.divmod(number, ROUND)
        # The latest person and auction so far, this event included, counted from 0.
        self.person = rounds * PERSONS + np.minimum(place, PERSONS - 1)
        self.auction = rounds * AUCTIONS + np.clip(place - PERSONS, -1, AUCTIONS - 1)

    def chance(self) -> Floats:
        """From 0 up to 1, one for each event. Every call draws from a stream of its own: more events change none."""
        (child,) = self._seed.spawn(1)
        return np.random.default_rng(child).random(len(self.number))

    def below(self, count: Integers | int) -> Integers:
        """Whole numbers from 0 to count - 1, all alike likely."""
        return np.floor(self.chance() * count).astype(np.int64)

    def one_of(self, words: tuple[str, ...]) -> pl.Series:
        """One of the words, all alike likely."""
        return pl.Series(words, dtype=pl.String).gather(self.below(len(words)))

    def price(self) -> Integers:
        """From 1 to 1,000,000 dollars, in cents, evenly in its logarithm."""
        return np.rint(10 ** (6 * self.chance()) * 100).astype(np.int64)

    def active_person(self) -> Integers:
        """One of the people who joined last."""
        known = np.minimum(self.person + 1, ACTIVE_PEOPLE)
        return self.person - self.below(known)

    def frame(self, columns: tuple[Column, ...], **values: Any) -> pl.DataFrame:
        """A table with these columns; times are given in microseconds."""
        values |= {"date_time": self.time_us, "arrival": self.arrival_us}
        return pl.DataFrame({c.name: pl.Series(c.name, values[c.name]).cast(c.dtype) for c in columns})


def _persons(person: _Events) -> pl.DataFrame:
    id_ = person.person + FIRST_ID
    name = person.one_of(_FIRST_NAMES) + " " + person.one_of(_LAST_NAMES)
    place = person.below(len(_PLACES))
    email = name.str.to_lowercase().str.replace(" ", ".", literal=True) + "." + pl.Series(id_).cast(pl.String)
    return person.frame(
        PERSON_COLUMNS,
        id=id_,
        name=name,
        email=email + "@example.com",
        city=pl.Series([city for city, _ in _PLACES]).gather(place),
        state=pl.Series([state for _, state in _PLACES]).gather(place),
    )


def _auctions(auction: _Events, rate: float) -> pl.DataFrame:
    hot = auction.chance() < HOT_SELLER
    seller = np.where(hot, auction.person // HOT_EVERY * HOT_EVERY, auction.active_person())
    initial = auction.price()
    # So long that about OPEN_AUCTIONS are open at a time: on average as long as it takes that many to come.
    mean_us = OPEN_AUCTIONS * ROUND / AUCTIONS * (1e6 / rate)
    open_us = 1000 + np.floor(auction.chance() * 2 * mean_us).astype(np.int64)
    return auction.frame(
        AUCTION_COLUMNS,
        id=auction.auction + FIRST_ID,
        item_name=auction.one_of(_KINDS) + " " + auction.one_of(_THINGS),
        initial_bid=initial,
        reserve=initial + auction.price(),
        expires=auction.time_us + open_us,
        seller=seller + FIRST_ID,
        category=auction.below(CATEGORIES) + FIRST_CATEGORY,
    )


def _bids(bid: _Events) -> pl.DataFrame:
    hot = bid.chance() < HOT_AUCTION
    other = bid.auction - bid.below(np.minimum(bid.auction, OPEN_AUCTIONS) + 1)
    auction = np.where(hot, bid.auction // HOT_EVERY * HOT_EVERY, other)
    # The second of a hundred, so that the hot bidder is not the hot seller; the first alone until there is a second.
    hot_bidder = np.minimum(np.maximum(bid.person - 1, 0) // HOT_EVERY * HOT_EVERY + 1, bid.person)
    bidder = np.where(bid.chance() < HOT_BIDDER, hot_bidder, bid.active_person())
    return bid.frame(BID_COLUMNS, auction=auction + FIRST_ID, bidder=bidder + FIRST_ID, price=bid.price())


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _check(events: Any, rate: Any, seed: Any) -> None:
    for name, value in (("events", events), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise DataError(f"nexmark({name}={value!r}): {name} is a whole number, 0 or more, such as {name}=1000")
    number = not isinstance(rate, bool) and isinstance(rate, int | float | np.integer | np.floating)
    if not number or not math.isfinite(rate) or rate <= 0:
        raise DataError(f"nexmark(rate={rate!r}): rate is a number of events a second, above 0, such as rate=10_000")
    if events > rate * LONGEST_S:
        raise DataError(f"nexmark(events={events}, rate={rate}) would last more than 100 years; ask for a higher rate")
