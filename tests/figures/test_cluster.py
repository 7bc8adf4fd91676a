import dataclasses
import math

import pytest
from clusters import a_history, a_snapshot, a_worker

from lepton_nb.cluster.history import ClusterHistory
from lepton_nb.cluster.snapshot import TaskCounts
from lepton_nb.figures import cluster as figures
from lepton_nb.figures.palette import COLOURS

OVER_TIME = [figures.cpu, figures.memory_over_time, figures.tasks, figures.network, figures.gpu]


def said(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def lines(figure):
    return {line.name: points(line) for line in figure.data}


def points(line):
    return [None if math.isnan(y) else y for y in line.y]


def test_a_bar_shows_used_free_and_spilled_memory_in_gigabytes():
    workers = [a_worker(name, memory_bytes=500_000_000 * name, spilled_bytes=10**8) for name in (1, 2)]
    figure = figures.memory(a_snapshot(1.0, *workers))
    bars = {bar.name: list(bar.x) for bar in figure.data}
    assert bars == {"in use": [0.5, 1.0], "free": [1.5, 1.0], "on disk": [0.1, 0.1]}
    assert list(figure.data[0].y) == ["worker 1", "worker 2"]


def test_a_worker_over_its_limit_has_nothing_free():
    worker = dataclasses.replace(a_worker(0), memory_bytes=3_000_000_000)
    assert list(figures.memory(a_snapshot(1.0, worker)).data[1].x) == [0]


def test_what_a_worker_started_has_a_part_of_the_bar_beyond_the_limit():
    worker = a_worker(0, memory_bytes=2_500_000_000, children=1, children_memory_bytes=2_000_000_000)
    figure = figures.memory(a_snapshot(1.0, worker, a_worker(1)))
    bars = {bar.name: list(bar.x) for bar in figure.data}
    assert list(bars) == ["in use", "free", "in processes that it started", "on disk"]
    assert (bars["in use"], bars["free"]) == ([0.5, 0.1], [1.5, 1.9])
    assert bars["in processes that it started"] == [2.0, 0.0]


@pytest.mark.parametrize("draw", OVER_TIME)
def test_a_few_looks_are_points_and_more_are_lines(draw):
    seen = [a_snapshot(float(at), a_worker(0, gpu_percent=1.0, gpu_memory_bytes=1)) for at in range(5)]
    assert {trace.mode for trace in draw(a_history(*seen[:4])).data} == {"markers"}
    assert {trace.mode for trace in draw(a_history(*seen)).data} == {"lines"}


def test_cpu_and_memory_have_a_line_a_worker_with_a_gap_where_it_was_away():
    history = a_history(
        a_snapshot(5.0, a_worker(0, cpu_percent=10.0), a_worker(1, cpu_percent=20.0, memory_bytes=10**9)),
        a_snapshot(6.0, a_worker(0, cpu_percent=30.0)),
        a_snapshot(8.0, a_worker(0, cpu_percent=50.0), a_worker(1, cpu_percent=60.0, memory_bytes=5 * 10**8)),
    )
    assert lines(figures.cpu(history)) == {"worker 0": [10.0, 30.0, 50.0], "worker 1": [20.0, None, 60.0]}
    assert list(figures.cpu(history).data[0].x) == [0.0, 1.0, 3.0]
    assert lines(figures.memory_over_time(history))["worker 1"] == [1.0, None, 0.5]


def test_tasks_are_those_at_work_and_next_in_line_and_those_that_wait():
    history = a_history(
        a_snapshot(1.0, a_worker(0, executing=1, ready=4), tasks=TaskCounts(waiting=9)),
        a_snapshot(2.0, tasks=TaskCounts(waiting=14)),
    )
    assert lines(figures.tasks(history)) == {"worker 0": [5, None], "waiting": [9, 14]}


def test_network_shows_received_above_sent_in_megabytes():
    worker = a_worker(0, received_bytes_s=2e6, sent_bytes_s=3e6)
    figure = figures.network(a_history(a_snapshot(1.0, worker, machine_received_bytes_s=7e6, machine_sent_bytes_s=8e6)))
    assert [(line.name, line.yaxis, points(line)) for line in figure.data] == [
        ("worker 0", "y", [2.0]),
        ("whole machine", "y", [7.0]),
        ("worker 0", "y2", [3.0]),
        ("whole machine", "y2", [8.0]),
    ]
    assert (figure.layout.yaxis.title.text, figure.layout.yaxis2.title.text) == ("MB/s in", "MB/s out")
    assert [line.showlegend for line in figure.data] == [True, True, False, False]


def test_gpus_show_use_and_memory_and_a_cluster_without_says_so_with_the_reason():
    busy = a_worker(0, gpu_percent=40.0, gpu_memory_bytes=3 * 10**9)
    figure = figures.gpu(a_history(a_snapshot(1.0, busy, a_worker(1))))
    assert [points(line) for line in figure.data] == [[40.0], [None], [3.0], [None]]
    assert figure.layout.title.text == "GPU (nothing known of worker 1)"
    most = figures.gpu(a_history(a_snapshot(1.0, busy, *(a_worker(name) for name in range(1, 9)))))
    assert most.layout.title.text == "GPU (nothing known of 8 of 9 workers)"
    none = figures.gpu(a_history(a_snapshot(1.0, a_worker(0), reason="CPU backend: 1 < 2")))
    assert not none.data
    assert said(none) == ["no GPU is used<br>CPU backend: 1 &lt; 2"]


@pytest.mark.parametrize("draw", OVER_TIME)
def test_an_empty_history_gives_a_figure_that_says_so(draw):
    figure = draw(ClusterHistory())
    assert not figure.data
    assert said(figure) == ["nothing has been measured yet"]


@pytest.mark.parametrize("draw", OVER_TIME)
def test_more_workers_than_colours_differ_by_their_dashes(draw):
    workers = [a_worker(name, gpu_percent=1.0, gpu_memory_bytes=1) for name in range(20)]
    figure = draw(a_history(a_snapshot(1.0, *workers)))
    top = [line for line in figure.data if line.name.startswith("worker") and line.yaxis in (None, "y")]
    assert len({(line.line.color, line.line.dash) for line in top}) == 20
    assert {line.line.color for line in top} == set(COLOURS)
    assert figure.layout.height
    assert figure.layout.title.text
