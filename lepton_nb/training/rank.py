"""What every rank does whatever the framework: job and rows in, the loop, the weights out, and why it failed.

FOLDER holds seat.json, and rank 0 leaves its weights there, and its state where it was stopped. The job and the rows
lie in the folder that the command "rows" names; everything else comes and goes by the channel.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lepton_nb.errors import LeptonError
from lepton_nb.training import models, tokens
from lepton_nb.training.batches import open_source
from lepton_nb.training.channel import Channel
from lepton_nb.training.cost import Meter
from lepton_nb.training.engine import Engine, PeerLostError
from lepton_nb.training.loop import Loop
from lepton_nb.training.placement import CHOOSE, Seat
from lepton_nb.training.result import STATE, WEIGHTS

# Meets the other ranks, yields what makes the engine from the job and the shape of a row, and then leaves the ranks.
Start = Callable[[Seat, str, Channel], Iterator[Callable[[dict[str, Any], tuple[int, ...]], Engine]]]


def main(folder: Path, start: Start, *, listen: bool = True) -> int:
    """Run the rank; the exit status is 0 for work that was done, also when it was stopped.

    listen: whether commands are listened to at once; otherwise `start` does so, which has one thread until then.
    """
    channel = Channel.open(listen=listen)
    reached = {"step": 0}
    try:
        _train(folder, channel, start, reached)
    except BaseException as raised:
        error = tokens.told(raised) or raised
        ours = isinstance(error, LeptonError)
        facts = {**reached, **error.facts} if isinstance(error, LeptonError) else reached
        channel.send(
            "failed",
            kind_of="data" if ours else "peer" if isinstance(error, PeerLostError) else "crash",
            message=str(error) if ours else _said(error),
            facts={name: value for name, value in facts.items() if isinstance(value, str | int | float)},
            traceback="".join(traceback.format_exception(raised)),
        )
        return 1
    return 0


def _train(folder: Path, channel: Channel, start: Start, reached: dict[str, int]) -> None:
    """`reached` gets the number of steps that were done, also where one fails."""
    facts = json.loads((folder / "seat.json").read_text())
    device = facts.pop("device")
    seat = Seat(**facts)
    meter = Meter(rank=seat.rank, host=seat.host, local_rank=seat.local_rank, device=device)
    meeting = start(seat, device, channel)
    make = next(meeting)
    rows = Path(channel.receive("rows")["folder"])
    job = _job(rows)
    train, validation = open_source(rows, "train"), open_source(rows, "validation")
    assert train is not None
    known = models.vocabulary_of(job["model"])
    for source, what in ((train, "the training data"), (validation, "the validation data")):
        if source is not None and known is not None:
            source.require_tokens(known, what, seat.rank, seat.ranks)
    resume = rows / "resume.npy"
    loop = Loop(
        job["spec"],
        make(job, train.shape),
        train,
        validation,
        channel,
        np.load(resume).tobytes() if resume.exists() else None,
        own_checkpoints=job["own_checkpoints"],
        meter=meter,
    )
    # Where the number of ranks is still open, these train only if they are the right number.
    if (rows / f"{CHOOSE}.npy").exists() and loop.best_workers() != seat.ranks:
        _leave(meeting)
        return
    try:
        loop.run()
    finally:
        reached["step"] = loop.step
    weights = loop.weights()
    if seat.rank == 0:
        (folder / WEIGHTS).write_bytes(weights)
        if loop.state is not None:
            (folder / STATE).write_bytes(loop.state)
    _leave(meeting)
    channel.send("cost", report=meter.read())
    if seat.rank == 0:
        channel.send("done", step=loop.step, stopped=loop.stopped, task=loop.task)


def _leave(meeting: Iterator[Any]) -> None:
    for _ in meeting:  # leaves the group, once every rank is done
        raise AssertionError


def _job(folder: Path) -> dict[str, Any]:
    # A notebook's own modules are found where the notebook finds them, if this machine has them too.
    for entry in json.loads(np.load(folder / "path.npy").tobytes()):
        if entry not in sys.path and os.path.isdir(entry):
            sys.path.append(entry)
    job: dict[str, Any] = pickle.loads(np.load(folder / "job.npy").tobytes())  # noqa: S301 - our own client's
    return job


def _said(error: BaseException) -> str:
    said = f"raised {type(error).__name__}: {error}"
    # The last two as PyTorch and TensorFlow say it.
    signs = ("out of memory", "can't allocate", "oom when allocating")
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs):
        return f"{said}\nIt ran out of memory: give a smaller batch_size, or do each batch in pieces (accumulation=4)"
    return said
