import pytest

from lepton_nb.cluster.probe import Hardware
from lepton_nb.cluster.spec import ClusterSpec, parse_memory
from lepton_nb.errors import ClusterError

DEFAULTS = {
    "workers": 2,
    "threads": 1,
    "memory": "2GB",
    "gpus": "auto",
    "secure": True,
    "host": "127.0.0.1",
    "port": 0,
    "dashboard_port": 0,
}


def test_a_good_wish_is_kept():
    spec = ClusterSpec.parse(**DEFAULTS)
    assert (spec.workers, spec.threads, spec.memory_bytes, spec.gpus) == (2, 1, 2_000_000_000, "auto")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": 0}, "workers=0 cannot be; give a whole number of 1 or more"),
        ({"workers": -1}, "workers=-1"),
        ({"workers": 1.5}, r"workers=1\.5"),
        ({"workers": True}, "workers=True"),
        ({"threads": 0}, "threads=0"),
        ({"threads": 10**9}, "give at most 1024"),
        ({"gpus": -1}, 'gpus=-1 cannot be; give "auto" or a whole number of 0 or more'),
        ({"gpus": "all"}, 'give "auto"'),
        ({"memory": "lots"}, "memory='lots' is not an amount; give one such as '2GB'"),
        ({"memory": "1kB"}, "too little"),
        ({"memory": None}, "not an amount"),
        ({"memory": "1e400GB"}, "not an amount"),
        ({"host": "localhost"}, "not an IP address"),
        ({"host": "0.0.0.0", "secure": False}, "without encryption"),
        ({"port": 70_000}, "not a port"),
        ({"dashboard_port": -5}, "dashboard_port=-5"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(wrong, message):
    with pytest.raises(ClusterError, match=message) as caught:
        ClusterSpec.parse(**DEFAULTS | wrong)
    assert caught.value.option in wrong


@pytest.mark.parametrize(
    ("text", "amount"), [("2GB", 2 * 10**9), ("1GiB", 2**30), (10**9, 10**9), ("512 MB", 512 * 10**6)]
)
def test_memory_is_read_as_it_is_written(text, amount):
    assert parse_memory(text) == amount


def test_more_memory_than_the_machine_has_is_refused_with_what_fits():
    small = Hardware(cores=2, memory_bytes=3_000_000_000, gpus=(), gpu_note="no GPU found")
    spec = ClusterSpec.parse(**DEFAULTS)
    spec.check_fits(1, small)
    with pytest.raises(
        ClusterError, match="2 workers of 2.0 GB need 4.0 GB.* has 3.0 GB.*at most 1 workers, or memory='1500MB'"
    ) as caught:
        spec.check_fits(2, small)
    assert caught.value.available_bytes == 3_000_000_000
    with pytest.raises(ClusterError, match="ask for at most 1 workers$"):
        spec.check_fits(1000, small)
