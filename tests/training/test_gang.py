from lepton_nb.training.gang import GIVE_UP_S, GRACE_S, Gang
from lepton_nb.training.placement import place
from lepton_nb.training.result import RankResult

ADDRESSES = ("tls://10.0.0.1:1", "tls://10.0.0.1:2", "tls://10.0.0.2:1")


def gang(*, started=True, ready=False, deadline_s=100.0):
    made = Gang(place(ADDRESSES, 3), deadline_s)
    if started or ready:
        for rank in range(3):
            made.take_message({"kind": "started", "rank": rank, "folder": f"folder-{rank}"}, 0)
    if ready:
        made.rows_written = True
        made.take_message({"kind": "listening", "rank": 0, "host": "10.0.0.1", "port": 9}, 0)
        for rank in range(3):
            made.take_message({"kind": "ready", "rank": rank}, 0)
        made.due(0)
    return made


def failed(rank, kind_of, message="x"):
    return RankResult(rank, 1, error={"kind_of": kind_of, "message": message, "traceback": ""})


def kinds(commands):
    return sorted((rank, command["kind"]) for rank, command in commands)


def test_rows_are_wanted_once_every_rank_has_a_folder():
    made = gang(started=False)
    for rank in range(3):
        assert not made.wants_rows
        made.take_message({"kind": "started", "rank": rank, "folder": ""}, 0)
    assert made.wants_rows
    made.rows_written = True
    assert not made.wants_rows


def test_ranks_hear_where_their_hosts_rows_are_and_where_to_meet_once():
    made = gang()
    assert made.due(0) == []
    made.rows_written = True
    folders = {rank: command["folder"] for rank, command in made.due(0)}
    assert folders == {0: "folder-0", 1: "folder-0", 2: "folder-2"}
    made.take_message({"kind": "listening", "rank": 0, "host": "10.0.0.1", "port": 9}, 0)
    assert made.due(0) == [(rank, {"kind": "join", "host": "10.0.0.1", "port": 9}) for rank in (1, 2)]
    assert made.due(0) == []


def test_a_stop_reaches_ranks_that_train_and_aborts_those_that_do_not_yet():
    training = gang(ready=True)
    training.stopping = True
    assert kinds(training.due(0)) == [(0, "stop"), (1, "stop"), (2, "stop")]
    starting = gang()
    starting.stopping = True
    assert kinds(starting.due(0)) == [(0, "abort"), (1, "abort"), (2, "abort")]
    for rank in range(3):
        starting.take_result(failed(rank, "crash"), 0)
    assert starting.over
    assert starting.failure() is None


def test_after_a_failure_the_others_have_a_grace_and_are_aborted():
    made = gang(ready=True)
    made.take_result(failed(1, "crash", "fell"), 10)
    assert made.due(10) == []
    assert kinds(made.due(10 + GRACE_S)) == [(0, "abort"), (2, "abort")]
    made.take_result(failed(0, "crash", "was killed"), 14)
    made.take_result(failed(2, "crash", "was killed"), 14)
    assert made.failure().rank == 1


def test_the_cause_is_named_and_not_those_that_it_took_along():
    made = gang(ready=True)
    made.take_result(failed(0, "peer", "lost contact"), 0)
    made.take_workers(dict.fromkeys(ADDRESSES[:2], "running"), 0.5)
    made.take_result(failed(1, "peer", "lost contact"), 1)
    error = made.failure()
    assert (error.rank, error.worker) == (2, ADDRESSES[2])
    assert "was lost with its worker" in str(error)


def test_late_ranks_are_named_by_what_they_lack():
    made = gang(started=False, deadline_s=5)
    made.take_message({"kind": "started", "rank": 0, "folder": ""}, 0)
    made.take_message({"kind": "started", "rank": 2, "folder": ""}, 0)
    made.take_time(6)
    assert kinds(made.due(6)) == [(0, "abort"), (2, "abort")]
    made.take_result(failed(0, "crash"), 6)
    made.take_result(failed(2, "crash"), 6)
    assert made.over
    assert "not loaded its framework" in str(made.failure())
    assert "busy with other tasks" in made.results[1].error["message"]


def test_ranks_that_never_end_are_given_up():
    made = gang(ready=True)
    made.take_result(failed(1, "crash"), 0)
    made.take_time(GIVE_UP_S + 1)
    assert made.over
    assert made.failure().rank == 1


def said(rank, message, kind_of="crash"):
    return {"kind": "failed", "rank": rank, "kind_of": kind_of, "message": message, "traceback": "lines"}


def test_what_a_rank_said_counts_though_its_result_never_comes():
    made = gang(ready=True)
    made.take_message(said(1, "raised ZeroDivisionError: boom"), 0)
    made.due(GRACE_S)
    made.take_time(GIVE_UP_S + 1)
    assert made.over
    error = made.failure()
    assert error.rank == 1
    assert "raised ZeroDivisionError: boom" in str(error)
    assert all(result.error is not None for result in made.results.values())
    assert "has not ended" in made.results[0].error["message"]


def test_what_a_rank_said_counts_though_it_had_to_be_killed():
    made = gang(ready=True)
    made.take_message(said(1, "raised ZeroDivisionError: boom"), 0)
    assert (1, "abort") in kinds(made.due(GRACE_S))
    for rank in range(3):
        made.take_result(failed(rank, "crash", "was killed by signal 9"), GRACE_S)
    assert made.failure().rank == 1
    assert "boom" in str(made.failure())


def test_no_rows_are_wanted_once_a_rank_has_failed():
    made = gang()
    assert made.wants_rows
    made.take_message(said(2, "x"), 0)
    assert not made.wants_rows


def test_a_fault_seen_from_outside_ends_the_ranks_at_once_and_is_the_cause():
    made = gang()
    made.take_fault(2, "did not get its rows", 5)
    assert not made.wants_rows
    assert kinds(made.due(5)) == [(0, "abort"), (1, "abort"), (2, "abort")]
    for rank in range(3):
        made.take_result(failed(rank, "crash", "was killed by signal 9"), 5)
    assert made.failure().rank == 2
    assert "did not get its rows" in str(made.failure())


def test_commands_that_did_not_arrive_are_due_again():
    made = gang(ready=True)
    made.stopping = True
    commands = made.due(0)
    made.take_back(commands[1:2])
    assert made.due(0) == commands[1:2]
    assert made.due(0) == []


def test_a_worker_that_is_paused_is_named_as_the_cause():
    made = gang(started=False, deadline_s=5)
    made.take_workers(dict.fromkeys(ADDRESSES, "running") | {ADDRESSES[1]: "paused"}, 0)
    made.take_time(6)
    assert "its worker is paused, as its memory is nearly full" in made.results[1].error["message"]
    assert "busy with other tasks" in made.results[2].error["message"]
