from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lepton_nb.data import datasets
from lepton_nb.errors import DataError

START = datetime(2015, 7, 15, tzinfo=UTC)
EVENTS = 100_000


@pytest.fixture(scope="module")
def tables():
    return datasets.nexmark(EVENTS, rate=1_000, seed=3)


@pytest.mark.parametrize("events", [0, 1, 2, 4, 5, 49, 50, 51, 99, 100, 20_000])
def test_of_fifty_events_one_is_a_person_three_are_auctions_and_the_others_bids(events):
    persons, auctions, bids = datasets.nexmark(events)
    rounds, rest = divmod(events, 50)
    assert persons.height == rounds + (rest > 0)
    assert auctions.height == 3 * rounds + min(max(rest - 1, 0), 3)
    assert bids.height == 46 * rounds + max(rest - 4, 0)


def test_the_proportions_are_2_6_and_92_of_a_hundred(tables):
    assert [table.height * 100 / EVENTS for table in tables] == [2, 6, 92]


def test_every_event_has_its_own_moment_at_the_rate_asked_for(tables):
    times = pl.concat([table["date_time"] for table in tables]).sort()
    assert times.to_list() == [START + timedelta(milliseconds=n) for n in range(EVENTS)]
    for table in tables:
        assert table["date_time"].is_sorted()


def test_a_rate_that_does_not_divide_a_second_is_cut_to_microseconds():
    bids = datasets.nexmark(7, rate=3).bids
    assert (bids["date_time"] - START).dt.total_microseconds().to_list() == [1_333_333, 1_666_666, 2_000_000]
    assert datasets.nexmark(2, rate=0.5).auctions["date_time"].to_list() == [START + timedelta(seconds=2)]


def test_one_event_in_ten_arrives_up_to_three_seconds_late(tables):
    for table in tables:
        late = (table["arrival"] - table["date_time"]).dt.total_milliseconds()
        assert late.min() == 0
        assert late.max() <= 3000
        assert (late > 0).mean() == pytest.approx(0.1, abs=5 * (0.09 / table.height) ** 0.5)
    delays = (tables.bids["arrival"] - tables.bids["date_time"]).dt.total_milliseconds()
    delays = delays.filter(delays > 0)
    assert (delays.min(), delays.max()) == (1, 3000)
    assert delays.mean() == pytest.approx(1500.5, rel=0.02)


def test_sorted_by_arrival_rows_are_at_most_three_seconds_out_of_order(tables):
    times = tables.bids.sort("arrival")["date_time"]
    assert not times.is_sorted()
    assert (times.cum_max() - times).max() <= timedelta(seconds=3)


def test_ids_count_up_from_a_thousand(tables):
    for table in (tables.persons, tables.auctions):
        assert table["id"].to_list() == list(range(1000, 1000 + table.height))


def test_nobody_sells_or_bids_before_joining_and_no_bid_comes_before_its_auction(tables):
    persons, auctions, bids = tables
    for table, reference, known in (
        (auctions, "seller", persons),
        (bids, "bidder", persons),
        (bids, "auction", auctions),
    ):
        known = known.select(pl.col("id").alias(reference), since="date_time")
        joined = table.join(known, on=reference, how="left", maintain_order="left")
        assert joined["since"].null_count() == 0
        assert (joined["since"] < joined["date_time"]).all()


def test_what_is_active_is_recent(tables):
    persons, auctions, bids = tables
    for table, reference, known, most in (
        (auctions, "seller", persons, 1000),
        (bids, "bidder", persons, 1000),
        (bids, "auction", auctions, 101),
    ):
        latest = known.select("date_time", latest="id")
        back = table.join_asof(latest, on="date_time").select(pl.col("latest") - pl.col(reference)).to_series()
        assert back.min() == 0
        assert most - 5 <= back.max() < most


@pytest.mark.parametrize(
    ("name", "reference", "known", "hot", "share", "others"),
    [
        ("auctions", "seller", "persons", 0, 0.75, 1000),
        ("bids", "auction", "auctions", 0, 0.5, 101),
        ("bids", "bidder", "persons", 1, 0.75, 1000),
    ],
)
def test_the_hot_ones_get_their_share(tables, name, reference, known, hot, share, others):
    latest = getattr(tables, known).select("date_time", latest="id")
    table = getattr(tables, name).join_asof(latest, on="date_time")
    # Of every hundred the first (sellers, auctions) or the second (bidders) is hot until the next of its kind comes.
    expected = (pl.col("latest") - 1000 - hot) // 100 * 100 + 1000 + hot
    # The first thousand people are few to choose from, which gives the hot one more.
    settled = table.filter(pl.col("latest") >= 2000)
    found = settled.select((pl.col(reference) == expected).mean()).item()
    # A hot one is also among those that the others are drawn from.
    wanted = share + (1 - share) / others
    assert found == pytest.approx(wanted, abs=5 * (wanted * (1 - wanted) / settled.height) ** 0.5)


def test_prices_are_even_in_their_logarithm_between_one_and_a_million_dollars(tables):
    for prices in (tables.bids["price"], tables.auctions["initial_bid"]):
        assert prices.dtype == pl.Int64
        assert prices.min() >= 100
        assert prices.max() <= 100_000_000
        exponents = np.log10(prices.to_numpy())
        shares = np.histogram(exponents, bins=6, range=(2, 8))[0] / prices.len()
        assert shares == pytest.approx(np.full(6, 1 / 6), abs=5 * (5 / 36 / prices.len()) ** 0.5)
    assert (tables.auctions["reserve"] >= tables.auctions["initial_bid"] + 100).all()


def test_about_a_hundred_auctions_are_open_at_a_time(tables):
    auctions = tables.auctions
    assert (auctions["expires"] > auctions["date_time"]).all()
    open_s = (auctions["expires"] - auctions["date_time"]).dt.total_microseconds() / 1e6
    # A hundred auctions take 100 * 50 / 3 events, of a millisecond each.
    assert open_s.mean() == pytest.approx(5 / 3, rel=0.03)
    assert open_s.max() < 10 / 3 + 0.002
    assert auctions["category"].unique().sort().to_list() == [10, 11, 12, 13, 14]


def test_the_same_seed_gives_the_same_events_and_another_others(tables):
    for one, same, other in zip(
        tables, datasets.nexmark(EVENTS, rate=1_000, seed=3), datasets.nexmark(EVENTS, rate=1_000, seed=4), strict=True
    ):
        assert_frame_equal(one, same)
        assert not one.equals(other)


def test_more_events_begin_with_the_same_ones(tables):
    for some, all_ in zip(datasets.nexmark(12_345, rate=1_000, seed=3), tables, strict=True):
        assert_frame_equal(some, all_.head(some.height))


def test_no_two_columns_share_their_chances(tables):
    numbers = tables.bids.select(pl.col("price").log(), pl.col("auction").diff(), pl.col("bidder").diff()).drop_nulls()
    correlations = numbers.corr().to_numpy()[np.triu_indices(3, 1)]
    assert abs(correlations).max() < 0.02


@pytest.mark.parametrize("name", ["persons", "auctions", "bids"])
def test_every_column_is_described_with_the_type_that_it_has(tables, name):
    table = getattr(tables, name)
    described = datasets.describe(name)
    assert described["column"].to_list() == table.columns
    assert described["dtype"].to_list() == [str(dtype) for dtype in table.dtypes]
    assert sum(table.null_count().row(0)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": -1}, "events is a whole number, 0 or more"),
        ({"events": 1e3}, "such as events=1000"),
        ({"events": True}, "events is a whole number"),
        ({"seed": -1}, "seed is a whole number"),
        ({"rate": 0}, "above 0, such as rate=10_000"),
        ({"rate": float("nan")}, "rate is a number of events a second"),
        ({"rate": "fast"}, "rate='fast'"),
        ({"events": 1_000, "rate": 1e-7}, "ask for a higher rate"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        datasets.nexmark(**{"events": 10, **options})


def test_an_unknown_table_is_named_with_the_closest():
    with pytest.raises(DataError, match="did you mean 'bids'"):
        datasets.describe("bid")
