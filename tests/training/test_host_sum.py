"""Sums of the ranks of one machine through shared memory: exact, the same everywhere, and over when one is gone."""

import socket
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from torch.distributed import FileStore

from lepton_nb.training import host_sum
from lepton_nb.training.engine import PeerLostError
from lepton_nb.training.host_sum import SLOT_BYTES, HostSum


@pytest.fixture
def store(tmp_path):
    """Makes a store; each rank has one of its own, over the same file."""
    return lambda: FileStore(str(tmp_path / "store"))


def together(store, ranks, work):
    """What `work(sums, rank)` gives on each rank, each in a thread of its own."""
    found = [None] * ranks

    def act(rank):
        sums = HostSum.join(store(), rank, ranks)
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
def test_every_rank_has_the_same_bits_of_many_sums_one_after_the_other(store, ranks):
    values = np.random.default_rng(0).normal(size=(200, ranks, 1000)).astype(np.float32)

    def work(sums, rank):
        mine = torch.from_numpy(values[:, rank].copy())
        for row in mine:
            sums.sum_(row)
        return mine.numpy()

    found = together(store, ranks, work)
    expected = values[:, 0].copy()
    for rank in range(1, ranks):
        expected += values[:, rank]
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_numbers_of_all_types_and_shapes_and_parts_of_others_are_added_up(store):
    def work(sums, rank):
        made = [
            torch.full((3, 4), rank + 1, dtype=dtype) for dtype in host_sum.DTYPES
        ] + [torch.tensor(float(rank)), torch.arange(12.0).view(3, 4).T * (rank + 1)]  # fmt: skip
        whole = torch.arange(10) * (rank + 1)
        for value in (*made, whole[2:5]):
            assert sums.fits(value)
            sums.sum_(value)
        return [*made, whole]

    for *full, single, turned, whole in together(store, 2, work):
        assert all(bool((value == 3).all()) for value in full)
        assert float(single) == 1.0
        assert torch.equal(turned, torch.arange(12.0).view(3, 4).T * 3)
        assert whole[2:5].tolist() == [6, 9, 12]


def test_what_does_not_fit_is_for_others():
    assert not HostSum.fits(torch.zeros(SLOT_BYTES // 4 + 1))
    assert not HostSum.fits(torch.zeros(0))
    assert not HostSum.fits(torch.zeros(2, dtype=torch.bool))
    assert HostSum.fits(torch.zeros(SLOT_BYTES // 4))


def test_a_rank_that_leaves_is_noticed_by_all_others(store):
    def work(sums, rank):
        values = torch.ones(4)
        sums.sum_(values)
        if rank == 1:
            return None
        sums.sum_(values)
        raise AssertionError

    first, second, third = together(store, 3, work)
    assert second is None
    assert isinstance(first, PeerLostError)
    assert isinstance(third, PeerLostError)


def test_a_rank_that_is_killed_is_noticed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(host_sum, "JOIN_TIMEOUT_S", 60.0)
    code = f"""
        import time
        from torch.distributed import FileStore
        from lepton_nb.training.host_sum import HostSum
        sums = HostSum.join(FileStore({str(tmp_path / "store")!r}), 1, 2)
        print("joined", flush=True)
        time.sleep(1000)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as other:

        def end():
            other.stdout.readline()
            other.kill()

        killer = threading.Thread(target=end)
        killer.start()
        sums = HostSum.join(store(), 0, 2)
        with pytest.raises(PeerLostError, match="rank 0 lost contact"):
            sums.sum_(torch.ones(1))
        sums.close()
        killer.join()


def test_a_rank_that_never_comes_is_not_waited_for_long(store, monkeypatch):
    monkeypatch.setattr(host_sum, "JOIN_TIMEOUT_S", 0.2)
    with pytest.raises(TimeoutError):
        HostSum.join(store(), 0, 2)


def test_nobody_else_takes_part(store, monkeypatch):
    class Stranger(socket.socket):
        def getsockopt(self, *given):
            return host_sum._CREDENTIALS.pack(1, 12345, 12345)

    def accept(server):
        file, address = server._accept()
        return Stranger(fileno=file), address

    monkeypatch.setattr(host_sum.socket.socket, "accept", accept)
    knocking = threading.Thread(target=_knock, args=(store(),))
    knocking.start()
    with pytest.raises(PermissionError, match="user 12345"):
        HostSum.join(store(), 0, 2)
    knocking.join()


def _knock(store):
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.connect("\0" + store.get("lepton-nb-host-sum-0").decode())
        knocking.recv(1)
