"""The ranks of one run as the client sees them: what came in, and what each is due to hear. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.placement import Seat
from lepton_nb.training.result import RankResult

GRACE_S = 3.0
GIVE_UP_S = 20.0
# How much of what the failed rank printed an error repeats.
TOLD_LINES = 100
# Which rank's error is the cause and which are consequences: a wrong input first, a lost peer last.
CAUSES = ("data", "lost", "crash", "late", "peer")

Command = tuple[int, dict[str, Any]]


class Gang:
    """State of the ranks on `seats`. Times are monotonic seconds and come from outside.

    Ranks start, get the rows of their host, meet at the address that rank 0 announces (or, with `everybody_listens`,
    all of them), and report ready. Those that say that they have left do so together. Once one fails, the others have
    GRACE_S to end or to say why, and are then aborted.
    """

    def __init__(self, seats: Sequence[Seat], deadline_s: float, *, everybody_listens: bool = False) -> None:
        self.seats = tuple(seats)
        self.results: dict[int, RankResult] = {}
        self.folders: dict[int, str] = {}
        self.rows_written = False
        self.stopping = False
        self._deadline_s = deadline_s
        self.pausing = False
        self._was_pausing = False
        self._pauses = 0
        self._everybody_listens = everybody_listens
        self._listening: dict[int, Mapping[str, Any]] = {}
        self._arrived: set[int] = set()
        self._ready: set[int] = set()
        self._left: set[int] = set()
        self._failing_since_s: float | None = None
        self._grace_s = GRACE_S
        self._told: set[tuple[int, str]] = set()
        self._states: Mapping[str, str] = {}
        # What is known of a rank's fault before its result comes.
        self._errors: dict[int, dict[str, Any]] = {}

    @property
    def wants_rows(self) -> bool:
        """True when every rank has a folder, the rows are not written yet, and nothing has gone wrong."""
        return not (self.rows_written or self.stopping or self._failing) and len(self.folders) == len(self.seats)

    @property
    def _failing(self) -> bool:
        return self._failing_since_s is not None

    @property
    def ready(self) -> bool:
        """True once every rank trains."""
        return len(self._ready) == len(self.seats)

    @property
    def over(self) -> bool:
        """True once every rank has ended."""
        return len(self.results) == len(self.seats)

    def take_message(self, message: Mapping[str, Any], now_s: float) -> None:
        """Note what a rank said."""
        rank = message["rank"]
        if message["kind"] == "started":
            self.folders[rank] = message["folder"]
        elif message["kind"] == "listening":
            self._listening[rank] = {name: message[name] for name in message if name not in ("kind", "rank")}
        elif message["kind"] == "arrived":
            self._arrived.add(rank)
        elif message["kind"] == "ready":
            self._ready.add(rank)
        elif message["kind"] == "left":
            self._left.add(rank)
        elif message["kind"] == "failed":
            self._errors.setdefault(rank, dict(message))
            self._fail(now_s)

    def take_result(self, result: RankResult, now_s: float) -> None:
        """Note how a rank ended; the first result counts. A fault that was known before is why it ended."""
        if result.error is not None:
            result.error = self._errors.get(result.rank, result.error)
        self.results.setdefault(result.rank, result)
        if result.error is not None:
            self._fail(now_s)

    def take_fault(self, rank: int, message: str, now_s: float) -> None:
        """Note what keeps a rank from its work, seen from outside."""
        self._errors.setdefault(rank, _fault("crash", message))
        self._fail(now_s, grace_s=0.0)

    def take_workers(self, states: Mapping[str, str], now_s: float) -> None:
        """Note the workers that are there, by address, and the state of each: a rank whose worker is gone is lost."""
        self._states = states
        for seat in self.seats:
            if seat.address not in states and seat.rank not in self.results:
                self.take_result(RankResult(seat.rank, None, error=_fault("lost", "was lost with its worker")), now_s)

    def take_time(self, now_s: float) -> None:
        """Give up on ranks that are late: to be ready, or to end after another has failed."""
        if not self.ready and now_s > self._deadline_s and not self._failing:
            late = [seat.rank for seat in self.seats if seat.rank not in self._ready]
            # Whoever listens or has arrived may well be late only because others are.
            behind = [rank for rank in late if rank not in self._arrived and rank not in self._listening]
            for rank in behind or late:
                self._give_up(rank, now_s)
        if self._failing_since_s is not None and now_s > self._failing_since_s + GIVE_UP_S:
            for seat in self.seats:
                if seat.rank not in self.results:
                    silent = _fault("late", f"has not ended {GIVE_UP_S:.0f} s after another one failed")
                    self.take_result(RankResult(seat.rank, None, error=silent), now_s)

    def due(self, now_s: float) -> list[Command]:
        """What ranks are to be told now, each thing once."""
        if self.pausing and not self._was_pausing:
            self._pauses += 1
        self._was_pausing = self.pausing
        failing_since_s = self._failing_since_s
        aborting = (self.stopping and not self.ready) or (
            failing_since_s is not None and now_s >= failing_since_s + self._grace_s
        )
        commands: list[Command] = []
        for rank in self.folders:
            if rank in self.results:
                continue
            if aborting:
                self._say(commands, rank, {"kind": "abort"})
                continue
            if self._meeting is not None and (rank != 0 or self._everybody_listens):
                self._say(commands, rank, self._meeting)
            if self.rows_written:
                self._say(commands, rank, {"kind": "rows", "folder": self.folders[self.leader_of(rank).rank]})
            if len(self._left) == len(self.seats):
                self._say(commands, rank, {"kind": "leave"})
            if self.stopping:
                self._say(commands, rank, {"kind": "stop"})
            for number in range(1, self._pauses + 1):
                self._say(commands, rank, {"kind": "pause", "number": number})
                if number < self._pauses or not self.pausing:
                    self._say(commands, rank, {"kind": "resume", "number": number})
        return commands

    def take_back(self, commands: Sequence[Command]) -> None:
        """Note that `commands` did not reach their ranks: they are due again."""
        self._told -= {(rank, _name(command)) for rank, command in commands}

    @property
    def _meeting(self) -> dict[str, Any] | None:
        """Where the ranks meet, as they hear it, once that is known."""
        if not self._everybody_listens:
            return {"kind": "join", **self._listening[0]} if 0 in self._listening else None
        if len(self._listening) < len(self.seats):
            return None
        return {"kind": "join", "everybody": [self._listening[seat.rank] for seat in self.seats]}

    def leader_of(self, rank: int) -> Seat:
        """The seat into whose folder the rows for `rank` are written: the first on its host."""
        host = self.seats[rank].host
        return next(seat for seat in self.seats if seat.host == host)

    def failure(self) -> TrainingError | None:
        """The error of the rank that failed first of all, not of those that it took along; None if none failed."""
        if self.stopping and not self.ready:
            return None
        failed = [result for result in self.results.values() if result.error is not None and not self._aborted(result)]
        if not failed:
            return None
        cause = min(failed, key=lambda result: (CAUSES.index(_error(result)["kind_of"]), result.rank))
        error = _error(cause)
        seat = self.seats[cause.rank]
        facts = {
            "rank": cause.rank,
            "worker": seat.address,
            "exit_code": cause.exit_code,
            "cause": error["kind_of"],
            **error.get("facts", {}),
        }
        if error["kind_of"] == "data":
            return TrainingError(error["message"], **facts)
        parts = [f"rank {cause.rank} of {len(self.seats)} on {seat.address} {error['message']}", error["traceback"]]
        output = "\n".join(cause.output.splitlines()[-TOLD_LINES:])
        if output:
            parts.append(f"its last lines of output:\n{output}")
        text = "\n\n".join(part.rstrip() for part in parts if part)
        return TrainingError(text, traceback=error["traceback"], output=output, **facts)

    def _aborted(self, result: RankResult) -> bool:
        told = (result.rank, "abort") in self._told
        return told and result.rank not in self._errors and _error(result)["kind_of"] == "crash"

    def _give_up(self, rank: int, now_s: float) -> None:
        if rank not in self.folders:
            state = self._states.get(self.seats[rank].address, "running")
            what = "has not started: its worker is busy with other tasks, wait for them or use another cluster"
            if state == "paused":
                what = "has not started: its worker is paused, as its memory is nearly full; free some, or give it more"
            elif state != "running":
                what = f"has not started: its worker is {state}; use another cluster"
        elif rank not in self._listening and (rank == 0 or self._everybody_listens):
            what = "has started, but not loaded its framework; the machine may be overloaded, or raise start_timeout_s"
        else:
            what = "has started, but not met the other ranks; raise start_timeout_s if the machine is slow"
        self._errors[rank] = _fault("late", what)
        # Nobody waits for what a late rank may still say.
        self._fail(now_s, grace_s=0.0)
        if rank not in self.folders:
            self.take_result(RankResult(rank, None, error=self._errors[rank]), now_s)

    def _fail(self, now_s: float, grace_s: float = GRACE_S) -> None:
        if self._failing_since_s is None:
            self._failing_since_s, self._grace_s = now_s, grace_s

    def _say(self, commands: list[Command], rank: int, command: dict[str, Any]) -> None:
        if (rank, _name(command)) not in self._told:
            self._told.add((rank, _name(command)))
            commands.append((rank, command))


def _name(command: Mapping[str, Any]) -> str:
    return f"{command['kind']} {command.get('number', '')}".strip()


def _error(result: RankResult) -> dict[str, Any]:
    assert result.error is not None
    return result.error


def _fault(kind_of: str, message: str) -> dict[str, Any]:
    return {"kind_of": kind_of, "message": message, "traceback": ""}
