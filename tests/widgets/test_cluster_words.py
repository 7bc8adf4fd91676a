from clusters import a_snapshot, a_worker

from lepton_nb.cluster.snapshot import TaskCounts, WorkerLoss
from lepton_nb.widgets import cluster_words as words

KILLED = WorkerLoss(1000.0, "1", "its process was killed by signal 9 (SIGKILL)")


def test_the_status_counts_workers_and_stays_the_same_while_they_work():
    both = a_snapshot(1.0, a_worker(0), a_worker(1), wanted=2)
    assert words.status(both, None) == "2 workers are up."
    busy = a_snapshot(2.0, a_worker(0, cpu_percent=99.0), a_worker(1, executing=3), wanted=2)
    assert words.status(busy, None) == words.status(both, None)
    assert words.status(a_snapshot(1.0, a_worker(0), wanted=1), None) == "1 worker is up."
    assert words.status(a_snapshot(1.0, a_worker(0), wanted=3), None) == "1 of 3 workers are up."
    assert words.status(both, (1, 4)) == "2 workers are up. Their number follows the load, from 1 to 4."


def test_the_status_tells_of_a_worker_that_was_lost_and_of_its_return():
    away = a_snapshot(1.0, a_worker(0), wanted=2, losses=(KILLED,))
    assert words.status(away, None) == (
        "1 of 2 workers are up. Worker 1 was lost: its process was killed by signal 9 (SIGKILL); it starts again."
    )
    back = a_snapshot(1.0, a_worker(0), a_worker(1), wanted=2, losses=(KILLED, KILLED))
    assert words.status(back, None).endswith("it was started again. Workers were lost 2 times so far.")


def test_the_table_is_one_that_a_screen_reader_can_read():
    worker = a_worker(0, memory_bytes=123_000_000, spilled_bytes=40_000_000, executing=1, ready=2, in_memory=3)
    table = words.workers_table(a_snapshot(1.0, worker, tasks=TaskCounts(waiting=1_000, failed=2)))
    assert "<caption>Workers</caption>" in table
    assert '<th scope="col" class="number">Memory (GB)</th>' in table
    assert '<th scope="row">0</th>' in table
    cells = [line.strip().removeprefix('<td class="number">').removesuffix("</td>") for line in table.splitlines()]
    for cell in ("0.12 of 2.00", "0.04", "1", "2", "3"):
        assert cell in cells
    assert "Tasks: 1,000 waiting, 0 given to a worker, 0 finished, 2 failed, 0 results kept." in table
    assert "GPU" not in table


def test_gpus_have_columns_only_where_they_are_used():
    worker = a_worker(0, gpu_percent=37.0, gpu_memory_bytes=3 * 10**9, gpu_memory_limit_bytes=16 * 10**9)
    table = words.workers_table(a_snapshot(1.0, worker, a_worker(1), backend="cuda"))
    assert "GPU (%)" in table
    assert '<td class="number">37</td>' in table
    assert '<td class="number">3.0 of 16.0</td>' in table
    assert table.count("no GPU seen") == 2
    (one, other) = words.summary(a_snapshot(1.0, worker, a_worker(1), backend="cuda"), None).splitlines()[-2:]
    assert one.endswith(", GPU 37 %, GPU memory 3.0 of 16.0 GB")
    assert other.endswith(" 0 tasks running, no GPU seen")


def test_what_a_gpu_does_not_tell_is_unknown_and_not_zero():
    some = a_worker(0, gpu_memory_limit_bytes=16 * 10**9)
    more = a_worker(1, gpu_percent=0.0, gpu_memory_bytes=10**9)
    table = words.workers_table(a_snapshot(1.0, some, more, backend="cuda"))
    for cell in ("unknown", "unknown, of 16.0", "0", "1.0"):
        assert f'<td class="number">{cell}</td>' in table


def test_processes_that_a_worker_started_count_with_it_and_are_told_apart():
    started = {"children": 2, "children_cpu_percent": 150.0, "children_memory_bytes": 10**9}
    worker = a_worker(0, cpu_percent=160.0, memory_bytes=1_200_000_000, **started)
    snapshot = a_snapshot(1.0, worker, wanted=1)
    table = words.workers_table(snapshot)
    for cell in ("160", "1.20", "0.20 of 2.00"):
        assert f'<td class="number">{cell}</td>' in table
    assert "memory that they share counts once" in table
    *_, told, counted = words.summary(snapshot, None).splitlines()
    assert "CPU 160 % of one core (150 % in 2 processes that it started), " in told
    assert "memory 1.20 GB (0.20 of 2.00 GB its own), " in told
    assert counted == words.counted(snapshot)
    elsewhere = a_snapshot(1.0, a_worker(0, children=1, children_shared_once=False))
    assert "memory that they share counts in each." in words.counted(elsewhere)


def test_lost_workers_are_listed_with_the_reason():
    table = words.workers_table(a_snapshot(1.0, losses=(KILLED,)))
    assert "No worker is there yet." in table
    assert "Worker 1 was lost at" in table
    assert "its process was killed by signal 9 (SIGKILL)." in table


def test_a_worker_that_was_lost_still_has_a_log():
    assert words.names(a_snapshot(1.0, a_worker(10), a_worker(2), losses=(KILLED, KILLED))) == ["1", "2", "10"]


def test_what_comes_from_a_cluster_is_no_markup():
    snapshot = a_snapshot(1.0, a_worker("<b>"), reason="<script>", dashboard="http://127.0.0.1:1/status")
    for page in (words.facts(snapshot), words.workers_table(snapshot), words.log("<i>", "<script>alert()</script>")):
        assert "<script>" not in page
        assert "<b>" not in page
        assert "<i>" not in page
    assert 'href="http://127.0.0.1:1/status"' in words.facts(snapshot)
    assert "Nothing was logged." in words.log("0", "")


def test_the_summary_has_the_workers_in_plain_words():
    snapshot = a_snapshot(1.0, a_worker(0, cpu_percent=12.4, executing=2), wanted=1)
    assert words.summary(snapshot, None).splitlines() == [
        "1 worker is up.",
        "CPU backend: no GPU found.",
        "Tasks: 0 waiting, 0 given to a worker, 0 finished, 0 failed, 0 results kept.",
        "Worker 0: 1 thread, CPU 12 % of one core, memory 0.10 of 2.00 GB, 0.00 on disk, 2 tasks running",
    ]
