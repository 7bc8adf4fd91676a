"""A source that plays a script, batch by batch, channel by channel; and what goes wrong on the way."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import polars as pl

from lepton_nb.errors import DataError
from lepton_nb.windowing.sources.base import Part, Planned, Rows, Source
from lepton_nb.windowing.sources.tables import FramePart


@dataclass(frozen=True)
class BrokenPart(Part):
    """Cannot be read."""

    message: str

    def read(self):
        raise DataError(self.message)


@dataclass(frozen=True)
class DeadlyPart(Part):
    """Ends the process that reads it: always, or once where `died` names a file that it leaves behind."""

    frame: pl.DataFrame
    died: str = ""

    def read(self):
        if self.died and os.path.exists(self.died):
            return Rows(self.frame)
        if self.died:
            open(self.died, "x").close()
        os._exit(9)


class Scripted(Source):
    """`script` is a list of batches, each a list of (channel, frame) or of parts; a position is how many were read.

    channels: those known, or a function of the number of batches read. finished: {channel: after how many batches}.
    endless: waits after the script until it is stopped. Counts what was asked: `planned` is the furthest batch that
    anybody looked at.
    """

    name = "scripted"

    def __init__(self, script, *, channels=None, finished=None, endless=False, schema=None):
        self.script = [[part if isinstance(part, Part) else FramePart(*part) for part in batch] for batch in script]
        named = {part.channel for batch in self.script for part in batch}
        self._channels = channels or tuple(sorted(named)) or (self.name,)
        self._finished = finished or {}
        self._endless = endless
        frames = [part.frame for batch in self.script for part in batch if isinstance(part, FramePart | DeadlyPart)]
        self._schema = frames[0].schema if schema is None and frames else schema
        self.planned = 0
        self.done = []
        self.opened = self.closed = 0
        self.news = threading.Condition()
        self._nothing = threading.Event()

    def open(self, columns, parallel):
        self.opened += 1

    @property
    def schema(self):
        return self._schema

    @property
    def channels(self):
        return tuple(self._channels(self.planned)) if callable(self._channels) else self._channels

    def plan(self, before, rows, wait_s):
        after = min(len(self.script), int(before or 0) + 1)
        with self.news:
            self.planned = max(self.planned, after)
            self.news.notify_all()
        if after == int(before or 0):
            self._nothing.wait(min(wait_s, 0.005))
        over = after == len(self.script) and not self._endless
        finished = frozenset(channel for channel, at in self._finished.items() if after >= at)
        return Planned(after, over=over, finished=finished, lag=len(self.script) - after)

    def parts(self, before, after):
        return [part for batch in self.script[int(before or 0) : int(after or 0)] for part in batch]

    def committed(self, position):
        self.done.append(position)

    def close(self):
        self.closed += 1
