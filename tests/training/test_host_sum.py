"""Sums of the ranks of one machine through shared memory: exact, the same everywhere, and over when one is gone."""

import pathlib
import socket
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from torch.distributed import FileStore

from lepton_nb.training import host_sum
from lepton_nb.training.engine import PeerLostError
from lepton_nb.training.host_sum import SLOT_BYTES, HostSum


@pytest.fixture
def exchange(tmp_path):
    """Makes an exchange for a rank of so many."""
    return lambda rank, ranks: through(tmp_path / "store", rank, ranks)


def through(path, rank, ranks):
    """An exchange through a file."""

    def exchange(mine):
        store = FileStore(str(path))
        store.set(str(rank), mine)
        return [store.get(str(other)) for other in range(ranks)]

    return exchange


def together(exchange, ranks, work):
    """What `work(sums, rank)` gives on each rank, each in a thread of its own."""
    found = [None] * ranks

    def act(rank):
        sums = HostSum.join(exchange(rank, ranks), rank, ranks)
        try:
            found[rank] = work(sums, rank)
        except Exception as error:
            found[rank] = error
        finally:
            sums.close()

    threads = [threading.Thread(target=act, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_every_rank_has_the_same_bits_of_many_sums_one_after_the_other(exchange, ranks):
    values = np.random.default_rng(0).normal(size=(200, ranks, 1000)).astype(np.float32)

    def work(sums, rank):
        mine = values[:, rank].copy()
        for row in mine:
            sums.sum_(row)
        return mine

    expected = values[:, 0].copy()
    for rank in range(1, ranks):
        expected += values[:, rank]
    for each in together(exchange, ranks, work):
        np.testing.assert_array_equal(each, expected)


@pytest.mark.parametrize("ranks", [2, 3])
def test_numbers_of_all_types_and_shapes_and_parts_of_others_are_added_up(exchange, ranks):
    def work(sums, rank):
        made = [np.full((3, 4), rank + 1, dtype) for dtype in host_sum.DTYPES]
        single, turned, whole = np.array(float(rank)), np.arange(12.0).reshape(3, 4).T * (rank + 1), np.arange(10)
        for value in (*made, single, turned, whole[2:5]):
            sums.sum_(value)
        return made, single, turned, whole

    times = sum(range(1, ranks + 1))
    for made, single, turned, whole in together(exchange, ranks, work):
        assert all((value == times).all() for value in made)
        assert float(single) == times - ranks
        np.testing.assert_array_equal(turned, np.arange(12.0).reshape(3, 4).T * times)
        assert whole.tolist() == [0, 1, 2 * ranks, 3 * ranks, 4 * ranks, 5, 6, 7, 8, 9]


def test_what_does_not_fit_is_for_others():
    single = np.dtype(np.float32)
    assert not HostSum.fits(single, SLOT_BYTES // 4 + 1)
    assert not HostSum.fits(single, 0)
    assert not HostSum.fits(np.dtype(bool), 2)
    assert HostSum.fits(single, SLOT_BYTES // 4)


def test_a_rank_that_leaves_is_noticed_by_all_others(exchange):
    def work(sums, rank):
        values = np.ones(4)
        sums.sum_(values)
        if rank == 1:
            return None
        sums.sum_(values)
        raise AssertionError

    first, second, third = together(exchange, 3, work)
    assert second is None
    assert isinstance(first, PeerLostError)
    assert isinstance(third, PeerLostError)


def test_a_rank_that_is_killed_is_noticed(exchange, tmp_path, monkeypatch):
    monkeypatch.setattr(host_sum, "JOIN_TIMEOUT_S", 60.0)
    code = f"""
        import time
        import pathlib, sys
        sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
        from test_host_sum import through
        from lepton_nb.training.host_sum import HostSum
        sums = HostSum.join(through(pathlib.Path({str(tmp_path / "store")!r}), 1, 2), 1, 2)
        print("joined", flush=True)
        time.sleep(1000)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as other:

        def end():
            other.stdout.readline()
            other.kill()

        killer = threading.Thread(target=end)
        killer.start()
        sums = HostSum.join(exchange(0, 2), 0, 2)
        with pytest.raises(PeerLostError, match="rank 0 lost contact"):
            sums.sum_(np.ones(1))
        sums.close()
        killer.join()


def test_a_rank_that_never_comes_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(host_sum, "JOIN_TIMEOUT_S", 0.2)
    with pytest.raises(TimeoutError):
        HostSum.join(lambda mine: [mine, b"nobody"], 0, 2)


def test_a_rank_that_has_gone_again_is_not_waited_for():
    with pytest.raises(ConnectionRefusedError):
        HostSum.join(lambda mine: [b"\0lepton-nb-nobody", mine], 1, 2)


def test_nobody_else_takes_part(exchange, monkeypatch):
    class Stranger(socket.socket):
        def getsockopt(self, *given):
            return host_sum._CREDENTIALS.pack(1, 12345, 12345)

    def accept(server):
        file, address = server._accept()
        return Stranger(fileno=file), address

    monkeypatch.setattr(host_sum.socket.socket, "accept", accept)
    knocking = threading.Thread(target=_knock, args=(exchange(1, 2),))
    knocking.start()
    with pytest.raises(PermissionError, match="user 12345"):
        HostSum.join(exchange(0, 2), 0, 2)
    knocking.join()


def _knock(exchange):
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.connect(exchange(b"nobody")[0])
        knocking.recv(1)
