import pytest
from clusters import a_history, a_snapshot, a_worker

import lepton_nb as lnb
from lepton_nb.cluster.history import ClusterHistory
from lepton_nb.cluster.snapshot import TaskCounts


def test_a_worker_has_one_value_a_snapshot_and_none_where_it_was_not_there():
    columns = a_history(
        a_snapshot(1000.0, a_worker(0, cpu_percent=5.0), a_worker(10, cpu_percent=7.0)),
        a_snapshot(1000.5, a_worker(10, cpu_percent=8.0)),
        a_snapshot(1002.0, a_worker(0, cpu_percent=6.0), a_worker(2), a_worker(10, cpu_percent=9.0)),
    ).columns()
    assert columns.seconds == [0.0, 0.5, 2.0]
    assert columns.workers == ("0", "2", "10")
    assert columns.worker("0", "cpu_percent") == [5.0, None, 6.0]
    assert columns.worker("10", "cpu_percent") == [7.0, 8.0, 9.0]
    assert columns.worker("0", "gpu_percent") == [None, None, None]


def test_the_cluster_has_columns_of_its_own():
    columns = a_history(
        a_snapshot(1.0, tasks=TaskCounts(waiting=3, finished=1), wanted=2, machine_sent_bytes_s=5.0),
        a_snapshot(2.0, tasks=TaskCounts(waiting=0, finished=4), wanted=1, machine_sent_bytes_s=6.0),
    ).columns()
    assert columns.cluster("waiting") == [3, 0]
    assert columns.cluster("finished") == [1, 4]
    assert columns.cluster("wanted") == [2, 1]
    assert columns.cluster("machine_sent_bytes_s") == [5.0, 6.0]


def test_it_is_bounded_and_its_times_go_on_from_the_first_snapshot_of_all():
    history = ClusterHistory(kept=3)
    for second in range(10):
        history.add(a_snapshot(100.0 + second))
    assert history.columns().seconds == [7.0, 8.0, 9.0]
    assert len(history) == 3
    assert history.last.at_s == 109.0


def test_a_snapshot_that_is_not_newer_is_left_out():
    history = a_history(a_snapshot(2.0), a_snapshot(1.0), a_snapshot(2.0), a_snapshot(3.0))
    assert [snapshot.at_s for snapshot in history.snapshots] == [2.0, 3.0]


def test_columns_stay_as_they_were_when_more_comes():
    history = a_history(a_snapshot(1.0, a_worker(0)))
    columns = history.columns()
    history.add(a_snapshot(2.0, a_worker(0)))
    assert columns.seconds == [0.0]
    assert columns.worker("0", "executing") == [0]


def test_an_empty_history_has_empty_columns():
    columns = ClusterHistory().columns()
    assert columns.seconds == []
    assert columns.workers == ()
    assert columns.cluster("waiting") == []


def test_an_unknown_column_gets_a_hint():
    columns = a_history(a_snapshot(1.0, a_worker(0))).columns()
    with pytest.raises(lnb.ClusterError, match="unknown column 'cpu_procent'; did you mean 'cpu_percent'"):
        columns.worker("0", "cpu_procent")
    with pytest.raises(lnb.ClusterError, match="did you mean 'waiting'"):
        columns.cluster("wating")
    with pytest.raises(lnb.ClusterError, match="1 or more"):
        ClusterHistory(kept=0)
