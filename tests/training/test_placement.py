import pytest

import lepton_nb as lnb
from lepton_nb.training.placement import host_of, place

ONE_HOST = ("tls://127.0.0.1:4001", "tls://127.0.0.1:4002", "tls://127.0.0.1:4003")
TWO_HOSTS = ("tls://10.0.0.1:1", "tls://10.0.0.2:1", "tls://10.0.0.1:2")


def test_ranks_take_the_first_workers_one_each_and_talk_over_loopback():
    seats = place(ONE_HOST, 2)
    assert [(seat.rank, seat.address, seat.local_rank, seat.local_ranks) for seat in seats] == [
        (0, ONE_HOST[0], 0, 2),
        (1, ONE_HOST[1], 1, 2),
    ]
    assert {seat.bind_host for seat in seats} == {"127.0.0.1"}


def test_ranks_on_several_hosts_are_counted_by_host_and_use_their_own_addresses():
    seats = place(TWO_HOSTS, 3)
    assert [(seat.local_rank, seat.local_ranks, seat.bind_host) for seat in seats] == [
        (0, 2, "10.0.0.1"),
        (0, 1, "10.0.0.2"),
        (1, 2, "10.0.0.1"),
    ]


def test_more_ranks_than_workers_is_an_error_that_names_both():
    with pytest.raises(lnb.TrainingError, match="workers=4, but the cluster has 3; give workers=3") as caught:
        place(ONE_HOST, 4)
    assert (caught.value.want, caught.value.got) == (4, 3)


@pytest.mark.parametrize(
    ("address", "host"), [("tls://10.0.0.1:4001", "10.0.0.1"), ("tcp://[::1]:80", "::1"), ("node-7:80", "node-7")]
)
def test_hosts_of_dask_addresses(address, host):
    assert host_of(address) == host
